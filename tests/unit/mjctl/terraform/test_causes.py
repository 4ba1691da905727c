"""Tests that the cause of a failed deploy is the first line of its error."""

from __future__ import annotations

from pathlib import Path

import pytest

from mjctl.models.errors import PermissionDeniedError, TerraformError
from mjctl.terraform.causes import cause, condensed
from mjctl.terraform.events import Diagnostic
from mjctl.terraform.runner import TerraformRun, _failure
from mjctl.terraform.stack import Stack

# The error of Terraform for a game server that raises an exception while its modules are imported.
DIED = """\
Error running command 'exec python -m mjctl.local start': exit status 9. Output: game-us-east-1a-1 did not start: \
it ends immediately after each start: Exited too quickly; the last lines of its log:
  | Traceback (most recent call last):
  |   File "<frozen runpy>", line 198, in _run_module_as_main
  |   File "<frozen runpy>", line 88, in _run_code
  |   File "/home/o/.venv/lib/python3.11/site-packages/uvloop/__init__.py", line 92, in run
  |     return runner.run(main())
  |            ^^^^^^^^^^^^^^^^^^
  |   File "/home/o/.mjctl/local/releases/game/9b1d7aa/gameserver/server/host.py", line 90, in <module>
  |     raise RuntimeError("bad release")
  | RuntimeError: bad release
  hint: fix the cause, then run `mjctl deploy` again
"""
# The error of Terraform for a game server with a long log, which contains only the end of the log and the log's path.
CUT = """\
Error running command 'exec python -m mjctl.local start': exit status 9. Output: game-us-east-1a-1 did not start: \
not ready after 30 s: connection refused; the last lines of its log:
  |   File "<frozen importlib._bootstrap>", line 1204, in _gcd_import
  |   File "/home/o/.mjctl/local/releases/game/9b1d7aa/gameserver/server/host.py", line 90, in <module>
  |     raise RuntimeError("bad release")
  | RuntimeError: bad release (/home/o/.mjctl/local/us-east-1/logs/game-us-east-1a-1.log)
  hint: fix the cause, then run `mjctl deploy` again
"""
SLOW = """\
Error running command 'exec python -m mjctl.local start': exit status 9. Output: worker did not start: not ready after \
30 s: answered 'HTTP/1.1 503 Service Unavailable'; the last lines of its log:
  | {"event":"waiting","level":"warning"}
"""


def provisioner(detail: str) -> Diagnostic:
    return Diagnostic("error", "local-exec provisioner error", detail, "module.x.terraform_data.process")


def failure(tmp_path: Path, *diagnostics: Diagnostic) -> str:
    stack = Stack("local", "local", "us-east-1", tmp_path, tmp_path)
    error = _failure(stack, "apply", TerraformRun(1, diagnostics=diagnostics), False)
    assert isinstance(error, TerraformError)
    return error.what


@pytest.mark.parametrize("died", [DIED, CUT])
def test_the_first_line_is_the_exception_of_the_process_that_ended(tmp_path: Path, died: str) -> None:
    following = [provisioner(SLOW.replace("worker", name)) for name in ("api", "worker")]
    text = failure(tmp_path, following[0], provisioner(died), following[1])
    assert text.splitlines()[0] == "terraform apply failed: game-us-east-1a-1: RuntimeError: bad release"
    assert "<frozen" not in text
    assert "uvloop" not in text
    assert 'gameserver/server/host.py", line 90' in text
    assert 'raise RuntimeError("bad release")' in text


@pytest.mark.parametrize(
    ("diagnostics", "expected"),
    [
        (
            [provisioner(SLOW)],
            "worker did not start: not ready after 30 s: answered 'HTTP/1.1 503 Service Unavailable'",
        ),
        ([Diagnostic("error", "creating SNS Topic (x): InvalidParameter")], "creating SNS Topic (x): InvalidParameter"),
        (
            [provisioner("exit status 1"), Diagnostic("error", "Unsupported argument")],
            "Unsupported argument",
        ),
        ([Diagnostic("warning", "deprecated"), provisioner("exit status 1")], ""),
        ([], ""),
    ],
)
def test_the_cause_is_found_in_the_diagnostics(diagnostics: list[Diagnostic], expected: str) -> None:
    assert cause(diagnostics) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("game.errors.Broken: a: b", "game.errors.Broken: a: b"),
        ("KeyError", "KeyError"),
        ("During handling of the above exception, another exception occurred:", ""),
    ],
)
def test_the_last_line_of_a_traceback_is_its_exception(lines: str, expected: str) -> None:
    text = f'  | Traceback (most recent call last):\n  |   File "/a.py", line 1, in x\n  |     y()\n  | {lines}\n'
    assert cause([provisioner(text)]) == expected


def test_the_cause_is_the_last_of_chained_exceptions() -> None:
    first = 'Traceback (most recent call last):\n  File "/a.py", line 1, in x\n    y()\nKeyError: 1\n'
    text = f"{first}\nDuring handling of the above exception, another exception occurred:\n\n{first}"
    assert cause([provisioner(text.replace("KeyError: 1", "ValueError: 2", 1))]) == "KeyError: 1"


def test_a_long_cause_is_shortened() -> None:
    assert len(cause([Diagnostic("error", "x" * 9_000)])) < 400


def test_a_text_without_a_traceback_is_unchanged() -> None:
    text = 'a\n  File of mine\n    b\nError: "x", line 3'
    assert condensed(text) == text
    assert condensed("") == ""


def test_a_failure_of_terraform_by_expired_credentials_is_a_permission_error(tmp_path: Path) -> None:
    from dataclasses import replace

    from mjctl.clients.account import Account
    from mjctl.terraform.remote_state import RemoteState

    account = Account("prod", "123456789012", "us-east-1", "bucket")
    stack = Stack("prod", "region", "us-east-1", tmp_path, tmp_path, RemoteState(account, "key"))
    expired = Diagnostic("error", "api error ExpiredToken: The security token included in the request is expired")
    error = _failure(stack, "plan", TerraformRun(1, diagnostics=(expired,)), False)
    assert isinstance(error, PermissionDeniedError)
    assert "aws sso login" in (error.hint or "")
    # A local region uses no AWS credentials, so the advice to renew them would be wrong.
    local = replace(stack, remote=None)
    assert isinstance(_failure(local, "plan", TerraformRun(1, diagnostics=(expired,)), False), TerraformError)
