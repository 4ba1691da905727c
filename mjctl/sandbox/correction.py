"""A correction of an emulator: what of AWS it does differently, and the change, made in the process that runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Correction:
    """`name` is what docs/emulated-aws.md and the tests call it; `version` is the newest release known to need it."""

    name: str
    emulator: str
    version: str
    difference: str
    apply: Callable[[], None]


def wrap(module: ModuleType, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace function `name` by `make(original)`, also in the module's tables of handlers.

    Raises:
        AttributeError: the emulator has no such function any more; its corrections have to be looked through.
    """
    original = getattr(module, name)
    replacement = make(original)
    setattr(module, name, replacement)
    for table in [value for value in vars(module).values() if isinstance(value, dict)]:
        for key, value in list(table.items()):
            if value is original:
                table[key] = replacement
