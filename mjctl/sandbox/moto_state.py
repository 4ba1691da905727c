"""moto's state over restarts, which it does not keep itself: its objects of the services asked of it, pickled.

Only this user can write the file (a private folder), and only the same release of moto reads it.
"""

from __future__ import annotations

import io
import logging
import pickle
import threading
from pathlib import Path
from typing import Any

from moto import __version__
from moto.backends import get_backend
from moto.core.base_backend import BaseBackend

from mjctl.files import replacing
from mjctl.sandbox import moto_corrections

# By moto's own names; the same as emulators.MOTO_SERVICES.
SERVICES = ("applicationautoscaling", "cloudwatch", "ecr", "shield", "wafv2")

logger = logging.getLogger("mjctl.sandbox.moto")


class MotoState:
    """`folder` holds one file, replaced as a whole at each save."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "moto.pickle"
        self._saved: bytes | None = None

    def load(self) -> bool:
        """Put back what was saved, before the first request. Returns whether there was something to put back."""
        try:
            with self._file.open("rb") as stream:
                # The version comes first, by itself: another release's objects may not even be read.
                version = pickle.load(stream)  # noqa: S301 - see _Unpickler
                if version != __version__:
                    logger.warning("the state is moto %s's, this is %s: begun without it", version, __version__)
                    return False
                kept: dict[str, Any] = _Unpickler(stream).load()
        except FileNotFoundError:
            return False
        moto_corrections.scaling_tags.update(kept["scaling_tags"])
        for service, accounts in kept["backends"].items():
            for account, regions in accounts.items():
                for region, backend in regions.items():
                    _backends(service)[account][region] = backend
        return True

    def save_if_changed(self) -> None:
        """Save unless the state is the one that was saved last, or requests change it all the time just now."""
        try:
            state = self._pickled()
        except RuntimeError:
            # `changed size during iteration`: there will be a next time.
            return
        if state != self._saved:
            self._write(state)

    def save(self) -> None:
        self._write(self._pickled())

    def _write(self, state: bytes) -> None:
        with replacing(self._file) as stream:
            stream.write(state)
        self._saved = state

    def _pickled(self) -> bytes:
        return pickle.dumps(__version__) + _dumped(
            {
                "scaling_tags": dict(moto_corrections.scaling_tags),
                "backends": {service: _by_account(service) for service in SERVICES},
            }
        )


class _Pickler(pickle.Pickler):
    """A lock becomes a new one; a backend of a service that is not kept, the one that the next process has."""

    def reducer_override(self, value: Any) -> Any:
        return (threading.RLock, ()) if isinstance(value, _RLOCK) else NotImplemented

    def persistent_id(self, value: Any) -> tuple[str, str, str] | None:
        if isinstance(value, BaseBackend) and _service(value) not in SERVICES:
            return _service(value), value.account_id, value.region_name
        return None


class _Unpickler(pickle.Unpickler):
    # Written by this module into a folder that no other user can write to.
    def persistent_load(self, name: tuple[str, str, str]) -> Any:
        service, account, region = name
        return _backends(service)[account][region]


_RLOCK = type(threading.RLock())


def _dumped(state: object) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream).dump(state)
    return stream.getvalue()


def _service(backend: BaseBackend) -> str:
    return type(backend).__module__.split(".")[1]


def _backends(service: Any) -> Any:
    return get_backend(service)


def _by_account(service: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for account, region, backend in list(_backends(service).iter_backends()):
        found.setdefault(account, {})[region] = backend
    return found
