"""Support for a user id without passwd entry, as in containers.

PostgreSQL's initdb refuses a user without passwd entry. The preloaded library nss_wrapper reads users from another file
instead of /etc/passwd: https://cwrap.org/nss_wrapper.html
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from pathlib import Path

from mjctl.files import write_private
from mjctl.local.layout import Layout, private_runtime_dir
from mjctl.models.errors import DependencyError

_LIBRARY = "libnss_wrapper.so"
_FOLDERS = ("/usr/local/lib", "/usr/lib", "/usr/lib64", "/lib", "/lib64")


def has_entry() -> bool:
    """Return whether the user of this process has a passwd entry."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def wrapper_library() -> Path | None:
    """Return the library nss_wrapper, or None if it is not installed."""
    for folder in _FOLDERS:
        for pattern in (_LIBRARY, f"*/{_LIBRARY}", f"{_LIBRARY}.*", f"*/{_LIBRARY}.*"):
            for library in sorted(Path(folder).glob(pattern)):
                return library
    return None


def check_database_user(regions: Iterable[Layout]) -> None:
    """Check that PostgreSQL can create the data of `regions` as this user.

    The check skips regions that already have a PostgreSQL cluster.

    Raises:
        DependencyError: the user has no passwd entry, and nss_wrapper is not installed.
    """
    if has_entry() or wrapper_library() is not None:
        return
    if all((layout.data / "postgres" / "PG_VERSION").exists() for layout in regions):
        return
    raise DependencyError(
        f"PostgreSQL cannot run as user id {os.geteuid()}, which has no passwd entry",
        hint="install libnss_wrapper (Debian: apt-get install libnss-wrapper; Fedora: dnf install nss_wrapper), "
        "or run mjctl as a user with an entry in /etc/passwd",
    )


def lookup_variables() -> dict[str, str]:
    """Return the variables with which a program finds a name for this user, or {} if the user has a passwd entry.

    Raises:
        DependencyError: the user has no passwd entry, and nss_wrapper is not installed.
    """
    if has_entry():
        return {}
    check_database_user([Layout(Path("/nonexistent"))])
    folder = private_runtime_dir()
    users, groups = folder / "passwd", folder / "group"
    write_private(users, f"mjctl:x:{os.geteuid()}:{os.getegid()}:mjctl:/:/bin/sh\n")
    write_private(groups, f"mjctl:x:{os.getegid()}:\n")
    return {
        "LD_PRELOAD": str(wrapper_library()),
        "NSS_WRAPPER_PASSWD": str(users),
        "NSS_WRAPPER_GROUP": str(groups),
    }
