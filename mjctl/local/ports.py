"""Ports of one region: chosen once, kept from then on, never two checkouts' or two regions' at the same time."""

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

# Below the ports that systems hand out to outgoing connections (32768 up on Linux, 49152 up on macOS): one of those
# could take a process's port in the moment it is restarted.
_FIRST, _LAST = 20_000, 32_000


def allocate(region_dir: Path, region: str, names: Sequence[str], pinned: Mapping[str, int]) -> dict[str, int]:
    """A port on 127.0.0.1 for each of `names`; the same as last time wherever that is still possible.

    `names`: program names, and `<game server>-ops`. `pinned`: name -> port that the configuration demands.
    The answer is kept in `region_dir/ports.json`. A kept port that another program has taken meanwhile is exchanged.

    Raises:
        ConflictError: a pinned port is taken by a program that is not of this region, or pinned twice; or none is left.
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
                    hint="destroy environments that are no longer used",
                )
            chosen[name] = port
        write_private(layout.ports, json.dumps(chosen, indent=2))
        _reserve(region_dir, reserved, chosen)
    return {name: chosen[name] for name in names}


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as attempt:
        # As servers do: connections of a predecessor that linger do not count.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
            attempt.listen(1)
        except OSError:
            return False
    return True


def describe_holder(port: int) -> str:
    """Who listens on `port`, for a message: `nginx (pid 812)`, or `another program` when the system does not tell."""
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
        raise ConflictError(f"port {port} is pinned for {region}/{twin} and for {region}/{name}")
    if port in ours or is_free(port):
        return port
    raise ConflictError(
        f"port {port}, pinned for {region}/{name}, is in use by {describe_holder(port)}",
        where=f"local.ports.{region}/{name}",
        hint="stop that program, or pin another port, or remove the pin so that a free one is chosen",
    )


def candidates(region_dir: Path) -> Iterator[int]:
    """Every port once, from a place that differs by region, so that regions rarely meet."""
    span = _LAST - _FIRST
    start = int.from_bytes(hashlib.sha256(os.fsencode(region_dir.resolve())).digest()[:4], "big") % span
    return (_FIRST + (start + step) % span for step in range(span))


def _own_ports(layout: Layout) -> set[int]:
    """Ports that programs of this region hold right now, be they supervised or left over from a dead supervisor."""
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
    """Ports of this user's other regions, as long as they still hold them."""
    reserved: dict[int, str] = {}
    for folder in read_json(_registry()).get("regions", []):
        if Path(folder) != region_dir.resolve():
            values = read_json(Layout(Path(folder)).ports).values()
            reserved.update((port, folder) for port in values if isinstance(port, int))
    return reserved


def _reserve(region_dir: Path, reserved: Mapping[int, str], chosen: Mapping[str, int]) -> None:
    folders = {*reserved.values(), str(region_dir.resolve())} if chosen else set(reserved.values())
    write_private(_registry(), json.dumps({"regions": sorted(folders)}))
