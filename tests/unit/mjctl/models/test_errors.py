from __future__ import annotations

import inspect

from mjctl.models import errors
from mjctl.models.exit_codes import ExitCode


def test_published_codes_never_change() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "INTERNAL": 1,
        "CHANGES_PENDING": 2,
        "UNHEALTHY": 3,
        "PARTIAL": 4,
        "FAILED": 5,
        "LOCKED": 6,
        "CONFIG": 7,
        "DEPENDENCY": 8,
        "UNREACHABLE": 9,
        "PERMISSION": 10,
        "CONFLICT": 11,
        "REFUSED": 12,
        "NOT_FOUND": 13,
        "VERIFICATION": 14,
        "USAGE": 64,
        "INTERRUPTED": 130,
    }


def test_every_exit_code_has_a_meaning() -> None:
    assert all(code.meaning for code in ExitCode)


def test_the_docstring_of_the_module_lists_every_error_with_its_code() -> None:
    drawn = errors.__doc__ or ""
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.MjctlError) and kind is not errors.MjctlError:
            row = next(line for line in drawn.splitlines() if f" {name} " in f"{line} ")
            assert row.split()[-1] == str(int(kind.exit_code))


def test_the_text_of_an_error_contains_its_place() -> None:
    assert str(errors.NotFoundError("no such thing", where="here")) == "no such thing (here)"
