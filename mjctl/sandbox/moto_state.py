"""Saves and loads the state of moto in a file, because moto keeps its state in memory only.

The file of the state contains moto's pickled objects. The file of the state is in a private folder, so that only
this user can write the file. `MotoState` ignores a file of another release of moto.
"""

from __future__ import annotations

import io
import logging
import pickle
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from moto import __version__
from moto.backends import get_backend
from moto.cloudwatch.models import MetricDatumBase
from moto.core.base_backend import BaseBackend

from mjctl.files import replacing
from mjctl.sandbox import moto_corrections

# moto's names of the services for which moto answers (emulators.MOTO_SERVICES).
SERVICES = ("applicationautoscaling", "cloudwatch", "ecr", "shield", "wafv2")

# moto looks at each value for each question, so the sandbox deletes values that are older than this time. Values that
# an alarm looks at stay. CloudWatch keeps the values of one-minute periods for 15 days.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html
_KEPT = timedelta(hours=3)
_METRIC_VALUES = ("metric values", "", "")

logger = logging.getLogger("mjctl.sandbox.moto")


def forget_old_values() -> None:
    """Delete the values of CloudWatch's metrics that no alarm looks at and that are older than three hours."""
    now = datetime.now(UTC).replace(tzinfo=None)
    for _, _, backend in list(_backends("cloudwatch").iter_backends()):
        ranges = [int(a.period or 0) * int(a.evaluation_periods or 0) for a in list(backend.alarms.values())]
        oldest = now - max(_KEPT, timedelta(seconds=2 * max(ranges, default=0)))
        # moto appends new values, so the values at the beginning of the list are the oldest.
        old = 0
        while old < len(backend.metric_data) and backend.metric_data[old].timestamp.replace(tzinfo=None) < oldest:
            old += 1
        del backend.metric_data[:old]


class MotoState:
    """Saves and loads moto's state."""

    def __init__(self, folder: Path) -> None:
        """Create the object without reading the file of the state.

        Args:
            folder: The private folder of the file `moto.pickle`. Each save replaces the file atomically.
        """
        self._file = folder / "moto.pickle"
        self._saved: bytes | None = None

    def load(self) -> bool:
        """Load the saved state. Call `load` before moto receives its first request.

        Returns:
            True if a state was loaded; False without a saved state, and for a state of another release of moto.
        """
        try:
            with self._file.open("rb") as stream:
                # Read moto's version, which the file contains before the state: unpickling the state of another release
                # of moto may fail.
                version = pickle.load(stream)  # noqa: S301 - only this user can write the file
                if version != __version__:
                    logger.warning("the state was saved by moto %s, and moto %s cannot read it", version, __version__)
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
        """Save the state if it has changed since the last save.

        Do nothing if a request changes the state during the save.
        """
        try:
            state = self._pickled()
        except RuntimeError:
            # pickle raises RuntimeError if a request to moto changes a dictionary during the save. The next call of
            # `save_if_changed` saves the state.
            return
        if state != self._saved:
            self._write(state)

    def save(self) -> None:
        """Save the state."""
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
    """Writes moto's state, without the values of CloudWatch's metrics.

    A load creates a new lock for each saved lock. Of a backend of moto for a service outside `SERVICES`, the
    pickler saves only a reference.
    """

    def reducer_override(self, value: Any) -> Any:
        return (threading.RLock, ()) if isinstance(value, _RLOCK) else NotImplemented

    def persistent_id(self, value: Any) -> tuple[str, str, str] | None:
        if isinstance(value, list) and value and isinstance(value[0], MetricDatumBase):
            return _METRIC_VALUES
        if isinstance(value, BaseBackend) and _service(value) not in SERVICES:
            return _service(value), value.account_id, value.region_name
        return None


class _Unpickler(pickle.Unpickler):
    # Unpickling the state is safe: only this module writes the file, and no other user can write to its folder.
    def persistent_load(self, name: tuple[str, str, str]) -> Any:
        if name == _METRIC_VALUES:
            return []
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
    backends: dict[str, dict[str, Any]] = {}
    for account, region, backend in list(_backends(service).iter_backends()):
        backends.setdefault(account, {})[region] = backend
    return backends
