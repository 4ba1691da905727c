"""Lists the parts of a local region that exist now.

Terraform's state also lists a part that has disappeared since the last deploy.
"""

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
    """Lists the parts of a local region that exist.

    Attributes:
        supervisor_alive: True if the supervisor answers.
        processes: The supervisor's programs without the watchdog; empty if the supervisor does not answer.
        data_plane_present: True if the manifest of the data plane and the emulated AWS's data exist.
    """

    supervisor_alive: bool
    processes: tuple[ProcessInfo, ...]
    data_plane_present: bool

    def process(self, name: str) -> ProcessInfo | None:
        """Return the program `name`, or None if the supervisor does not have it."""
        return next((info for info in self.processes if info.name == name), None)

    def exists(self, name: str) -> bool:
        """Return whether the supervisor has the program `name` and restarts it when it ends."""
        info = self.process(name)
        return info is not None and info.state not in {"STOPPED", "FATAL"}


def observe(region_dir: Path) -> Inventory:
    """Return the inventory of a region.

    The inventory has no processes if the supervisor does not run or the region does not exist.
    """
    layout = Layout(region_dir)
    data_plane = bool(read_json(layout.data_plane)) and (layout.data / "aws").is_dir()
    if not layout.supervisor_record.exists():
        return Inventory(False, (), data_plane)
    try:
        processes = connect(layout, timeout_seconds=_ANSWER_SECONDS).processes()
    except MjctlError:
        return Inventory(False, (), data_plane)
    return Inventory(True, tuple(info for info in processes if info.name != WATCHDOG), data_plane)
