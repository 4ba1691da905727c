"""Changes the time at which botocore signs requests and tokens, for tests of tokens that expire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib import import_module

import pytest


def sign_at(monkeypatch: pytest.MonkeyPatch, now: Callable[[], datetime]) -> None:
    """Let botocore sign at the time that `now` returns with a time zone.

    botocore signs by awscrt if awscrt is installed, and by its own code otherwise.
    """

    def current(remove_tzinfo: bool = True) -> datetime:
        moment = now()
        return moment.replace(tzinfo=None) if remove_tzinfo else moment

    # botocore.crt.auth cannot be imported before botocore.auth.
    for module in ("botocore.auth", "botocore.crt.auth"):
        monkeypatch.setattr(import_module(module), "get_current_datetime", current)
