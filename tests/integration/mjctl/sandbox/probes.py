"""Collects the probes of corrections, and checks what a probe has found.

A probe is a function that returns True if an emulator behaves as AWS does. The probe of a correction must return False
for the emulator without corrections. Otherwise the correction is not needed any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from botocore.exceptions import ClientError

T = TypeVar("T")
Probe = Callable[[T], bool]


class Probes(dict[str, Probe[T]], Generic[T]):
    """Maps the name of each correction to its probe. `T` is the type of the argument with which probes are called."""

    def __call__(self, name: str) -> Callable[[Probe[T]], Probe[T]]:
        """Return a decorator that adds a probe for the correction `name`."""

        def register(function: Probe[T]) -> Probe[T]:
            self[name] = function
            return function

        return register

    def check(self, name: str, argument: T, *, corrected: bool) -> None:
        """Call the probe of the correction `name`. Without corrections, the probe must find the difference from AWS."""
        behaves = self[name](argument)
        if corrected:
            assert behaves, f"the correction {name} does not work"
        else:
            assert not behaves, f"the emulator now behaves as AWS does: remove the correction {name}"


def error_code(call: Callable[..., Any], **parameters: Any) -> str:
    """Return the code of the error of a call, or an empty text if the call succeeds."""
    try:
        call(**parameters)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""
