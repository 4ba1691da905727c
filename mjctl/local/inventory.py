"""What of a local region is really there, for planning: Terraform's state only says what was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mjctl.files import read_json
from mjctl.local.daemon import connect
from mjctl.local.layout import Layout
from mjctl.local.supervisor import WATCHDOG, ProcessInfo
from mjctl.models.errors import MjctlError

_ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Inventory:
    """`processes`: the supervisor's programs without the watchdog; empty when it is dead.

    `data_plane_present`: the manifest and the emulated AWS's data exist.
    """

    supervisor_alive: bool
    processes: tuple[ProcessInfo, ...]
    data_plane_present: bool

    def process(self, name: str) -> ProcessInfo | None:
        return next((info for info in self.processes if info.name == name), None)

    def exists(self, name: str) -> bool:
        """Whether the supervisor has the program and does not consider it stopped for good."""
        info = self.process(name)
        return info is not None and info.state not in {"STOPPED", "FATAL"}


def observe(region_dir: Path) -> Inventory:
    """Look once. A supervisor that is dead, or a region that never was, is an empty inventory and no error."""
    layout = Layout(region_dir)
    data_plane = bool(read_json(layout.data_plane)) and (layout.data / "aws").is_dir()
    if not layout.supervisor_record.exists():
        return Inventory(False, (), data_plane)
    try:
        processes = connect(layout, timeout_seconds=_ANSWER_SECONDS).processes()
    except MjctlError:
        return Inventory(False, (), data_plane)
    return Inventory(True, tuple(info for info in processes if info.name != WATCHDOG), data_plane)
