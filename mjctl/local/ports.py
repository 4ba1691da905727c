"""Chooses the ports of a local region.

A region keeps its ports, and no two regions of a user get the same port, not even in different checkouts.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from mjctl.files import file_lock, read_json, write_private
from mjctl.local.layout import Layout, private_runtime_dir
from mjctl.models.errors import ConflictError

# The chosen ports are below the ports of outgoing connections (from 32768 on Linux, from 49152 on macOS). In the range
# of outgoing ports, an outgoing connection could take the port of a process while the process restarts.
_FIRST, _LAST = 20_000, 32_000


def allocate(region_dir: Path, region: str, names: Sequence[str], pinned: Mapping[str, int]) -> dict[str, int]:
    """Choose a port on 127.0.0.1 for each process, and keep the choice in `region_dir/ports.json`.

    A process keeps its port from the last choice, unless another program uses that port now.

    Args:
        region_dir: The folder of the region.
        region: The region's name, which errors contain.
        names: The programs' names, and `<game server>-ops` for each game server.
        pinned: The ports that the environment's file demands, by name.

    Returns:
        The port of each process, by the name in `names`.

    Raises:
        ConflictError: another program uses a pinned port, two processes have the same pinned port, or no port is free.
    """
    layout = Layout(region_dir)
    layout.create()
    ours = _own_ports(layout)
    with file_lock(private_runtime_dir() / "ports.lock"):
        reserved = _reserved_elsewhere(region_dir)
        kept = {name: port for name, port in read_json(layout.ports).items() if isinstance(port, int)}
        chosen: dict[str, int] = {}
        for name in names:
            if name in pinned:
                chosen[name] = _pinned(region, name, pinned[name], chosen, ours)
        untried = candidates(region_dir)
        for name in names:
            if name in chosen:
                continue
            port = kept.get(name)
            usable = port is not None and port not in chosen.values() and port not in reserved
            if port is None or not usable or not (port in ours or is_free(port)):
                taken = {*chosen.values(), *kept.values(), *reserved, *pinned.values()}
                port = next((port for port in untried if port not in taken and is_free(port)), None)
            if port is None:
                raise ConflictError(
                    f"no free port is left for {region}/{name} between {_FIRST} and {_LAST}",
                    hint="destroy environments that you no longer use",
                )
            chosen[name] = port
        write_private(layout.ports, json.dumps(chosen, indent=2))
        _reserve(region_dir, reserved, chosen)
    return {name: chosen[name] for name in names}


def is_free(port: int) -> bool:
    """Return whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as attempt:
        # Set SO_REUSEADDR as servers do, so that closed connections of an earlier server do not block the port.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
            attempt.listen(1)
        except OSError:
            return False
    return True


def describe_holder(port: int) -> str:
    """Return the name and pid of the program that listens on `port`, e.g. `nginx (pid 812)`.

    Return `another program` if the system hides the program's name.
    """
    import psutil

    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "another program"
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if listens and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                break
    return "another program"


def _pinned(region: str, name: str, port: int, chosen: Mapping[str, int], ours: Set[int]) -> int:
    twin = next((other for other, taken in chosen.items() if taken == port), None)
    if twin is not None:
        raise ConflictError(
            f"local.ports has port {port} for {region}/{twin} and for {region}/{name}",
            hint="give each process its own port",
        )
    if port in ours or is_free(port):
        return port
    raise ConflictError(
        f"port {port}, pinned for {region}/{name}, is in use by {describe_holder(port)}",
        where=f"local.ports.{region}/{name}",
        hint="stop the program that uses the port, pin another port, or remove the pinned port so that mjctl chooses "
        "a free port",
    )


def candidates(region_dir: Path) -> Iterator[int]:
    """Yield every port from 20000 to 31999 once.

    The first port depends on the region's folder, so that two regions rarely try the same port.
    """
    span = _LAST - _FIRST
    start = int.from_bytes(hashlib.sha256(os.fsencode(region_dir.resolve())).digest()[:4], "big") % span
    return (_FIRST + (start + step) % span for step in range(span))


def _own_ports(layout: Layout) -> set[int]:
    """Return the ports that the programs of this region use now, even if their supervisor has ended."""
    from mjctl.local import leftovers
    from mjctl.local.inventory import observe

    if not layout.ports.exists():
        return set()
    inventory = observe(layout.region_dir)
    if inventory.supervisor_alive:
        running = {info.name for info in inventory.processes if inventory.exists(info.name)}
    else:
        running = {leftover.name for leftover in leftovers.find(layout.region_dir)}
    return {
        port
        for name, port in read_json(layout.ports).items()
        if name.removesuffix("-ops") in running and isinstance(port, int)
    }


def _registry() -> Path:
    return private_runtime_dir() / "ports.json"


def _reserved_elsewhere(region_dir: Path) -> dict[int, str]:
    """Return the ports that the other regions of this user keep, each with its region's folder."""
    reserved: dict[int, str] = {}
    for folder in read_json(_registry()).get("regions", []):
        if Path(folder) != region_dir.resolve():
            values = read_json(Layout(Path(folder)).ports).values()
            reserved.update((port, folder) for port in values if isinstance(port, int))
    return reserved


def _reserve(region_dir: Path, reserved: Mapping[int, str], chosen: Mapping[str, int]) -> None:
    folders = {*reserved.values(), str(region_dir.resolve())} if chosen else set(reserved.values())
    write_private(_registry(), json.dumps({"regions": sorted(folders)}))
