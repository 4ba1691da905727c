"""Defines the corrections of an emulator.

A correction changes the emulator's behaviour to AWS's behaviour, in the process that runs the emulator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final


@dataclass(frozen=True)
class Correction:
    """Describes a correction, which changes the code of an emulator while the emulator runs.

    Attributes:
        name: The name of the correction in docs/emulated-aws.md and in the tests.
        emulator: `ministack` or `moto`.
        version: The newest known release of the emulator that needs the correction.
        difference: A description of the difference between the emulator and AWS, for docs/emulated-aws.md.
        apply: Changes the emulator's code in this process.
    """

    name: str
    emulator: str
    version: str
    difference: str
    apply: Callable[[], None]


MINISTACK_RELEASE: Final = "1.5.33"
"""The release of ministack with which the corrections were last compared."""


def ministack_correction(name: str, difference: str, apply: Callable[[], None]) -> Correction:
    """Return a correction of ministack. The arguments are attributes of `Correction`."""
    return Correction(name, "ministack", MINISTACK_RELEASE, difference, apply)


def wrap(module: ModuleType, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace the function `name` of a module by `make(original)`, also in the module's tables of handlers.

    Raises:
        AttributeError: the installed release of the emulator has no function `name` in the module, so a
            developer must adapt the correction.
    """
    original = getattr(module, name)
    replacement = make(original)
    setattr(module, name, replacement)
    for table in [value for value in vars(module).values() if isinstance(value, dict)]:
        for key, value in list(table.items()):
            if value is original:
                table[key] = replacement
