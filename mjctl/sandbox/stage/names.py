"""Makes the DNS names of a stage resolve only in the stage's own processes, by a private /etc/hosts.

Linux shows the private file only to processes in the mount namespace of the stage. The C library reads /etc/hosts again
for each look-up. A name that an apply creates therefore resolves immediately, in every language and event loop.

Only root can create a mount namespace, or an ordinary user on a system that allows user namespaces:
https://man7.org/linux/man-pages/man7/user_namespaces.7.html
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from mjctl.files import read_json, write_private
from mjctl.sandbox.stage.layout import names_file

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_HOSTS = Path("/etc/hosts")
_PRIVILEGED_PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_LOWEST_PORT = 80


def obstacle() -> str | None:
    """Return why this machine cannot run a stage, with a remedy, or None if the machine can run a stage.

    A child process tries to enter a mount namespace, because this process could not leave the namespace again.
    """
    if sys.platform != "linux":
        return "the stage needs Linux: only Linux has mount namespaces and all addresses of 127.0.0.0/8"
    if os.geteuid() != 0 and int(_PRIVILEGED_PORTS.read_text()) > _LOWEST_PORT:
        return (
            f"this user may not listen on the ports {_LOWEST_PORT} and 443: "
            f"`sudo sysctl net.ipv4.ip_unprivileged_port_start={_LOWEST_PORT}` allows it"
        )
    pid = os.fork()
    if pid == 0:
        try:
            _enter_namespace()
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        return "this system lets this user create no mount namespace: run as root, or allow user namespaces"
    return None


def enter(hosts: Path) -> None:
    """Move this process into a mount namespace in which /etc/hosts is the file `hosts`.

    The process must have a single thread. The child processes of this process are in the same namespace.

    Raises:
        OSError: the system does not allow this user to create a mount namespace.
    """
    if not hosts.exists():
        hosts.write_text(_HOSTS.read_text(encoding="utf-8"), encoding="utf-8")
    # If the stage runs as root, PostgreSQL runs as another user, who must be able to read this file.
    hosts.chmod(0o644)
    _enter_namespace()
    _mount(bytes(hosts), bytes(_HOSTS), _MS_BIND)


def publish(hosts: Path, names: Mapping[str, str]) -> None:
    """Write the IP addresses of all DNS names of the stage into two files.

    Args:
        hosts: The file that `enter` mounted. The function overwrites the file in place, because a new file would not be
            mounted. The function also writes the names to `names.json` in the same folder, for mjctl's own clients.
        names: The IP address of each DNS name.
    """
    text = "127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in sorted(names.items()))
    if hosts.read_text(encoding="utf-8") == text:
        return
    with hosts.open("r+", encoding="utf-8") as file:
        file.write(text)
        file.truncate()
    write_private(names_file(hosts.parent), json.dumps(dict(sorted(names.items())), indent=1))


def published(hosts: Path) -> dict[str, str]:
    """Return the IP address of each DNS name that `publish` has written."""
    return {name: str(address) for name, address in read_json(names_file(hosts.parent)).items()}


def _enter_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    library = _library()
    if library.unshare(_CLONE_NEWNS | (0 if user == 0 else _CLONE_NEWUSER)) != 0:
        raise _last_error()
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    _mount(b"none", b"/", _MS_REC | _MS_PRIVATE)


def _mount(source: bytes, target: bytes, flags: int) -> None:
    if _library().mount(source, target, None, flags, None) != 0:
        raise _last_error()


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
