"""Runs a PostgreSQL server as an instance of an emulated Aurora cluster."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from mjctl.files import read_json, write_private
from mjctl.local import postgres
from mjctl.models.errors import UnreachableError
from mjctl.sandbox.stage.containers import Container, ContainerCommand, ContainerEngine
from mjctl.sandbox.stage.postgres_volume import ADMINISTRATOR, IAM_ROLE, SUPERUSER, Source, quoted
from mjctl.sandbox.stage.rounds import end_processes_in

IMAGE = "mjctl/aurora-postgresql"

_PORT = 5432
_STOP_SECONDS = 20.0
_READY_SECONDS = 60.0
_SQL_SECONDS = 20.0
# The buffers are small, because all servers of all regions run on one machine.
_SETTINGS = {
    "shared_buffers": "24MB",
    "max_wal_size": "256MB",
    # A reader that was disconnected from the writer for a short time continues without a new copy of the data.
    "wal_keep_size": "256MB",
    "hot_standby_feedback": "on",
    # Without fsync, the data survives the end of every process. Only a crash of the machine can damage the data.
    "fsync": "off",
    "jit": "off",
    "logging_collector": "off",
}
# The door of the databases checks the tokens of the members of `rds_iam`, and only this user's processes reach the Unix
# socket of the server.
_ACCESS = f"""\
local all {ADMINISTRATOR} scram-sha-256
local replication {ADMINISTRATOR} scram-sha-256
{{master}}local all +{IAM_ROLE} trust
local all all scram-sha-256
"""
# The master user, who is a member of `rds_superuser`, logs in with a password until another user logs in by IAM.
_MASTER_BY_PASSWORD = f"local all +{SUPERUSER} scram-sha-256\n"
_MASTER_SECONDS = 2.0
_LOG_INS_BY_IAM = """
SELECT EXISTS (
  SELECT FROM pg_auth_members AS membership JOIN pg_roles AS member ON member.oid = membership.member
  WHERE membership.roleid = 'rds_iam'::regrole AND member.rolcanlogin
  AND NOT pg_has_role(member.oid, 'rds_superuser', 'member')
)
"""
# Aurora's setting names libraries that are not part of PostgreSQL. PostgreSQL does not start if such a library is
# missing.
_NOT_APPLIED = frozenset({"shared_preload_libraries"})


class PostgresServer:
    """Runs the PostgreSQL process of one instance.

    Attributes:
        address: The loopback address of the instance, at which the door of the databases listens.
        sockets: The folder of the Unix socket at which the PostgreSQL process listens, behind the door.
        data: The data folder on which the process runs, or None before the first start.
        configured: The parameters that the stage has set in the running process, or None after a start of the process.
    """

    def __init__(self, engine: ContainerEngine, name: str, sockets: Path) -> None:
        """Create the container without starting its process.

        Args:
            engine: The engine of the stage.
            name: The name of the container, unique in the stage.
            sockets: A private folder for the server's Unix socket. The path of the folder is short.
        """
        self._container: Container = engine.containers.create(IMAGE, name=name)
        self.address = self._container.address
        self._addresses = engine.addresses
        # The path of a Unix socket has at most 107 bytes, so this path cannot contain the instance's name.
        self.sockets = sockets / f"pg-{self.address.partition('.')[2]}"
        self.data: Path | None = None
        self._master_by_password = True
        self._master_corrected_at = 0.0
        self.configured: object = None
        self.ready = False
        self._binaries = Path()
        self._passwords = Path()

    @property
    def container_name(self) -> str:
        """Return the name of the server's container."""
        return self._container.name

    @property
    def socket(self) -> Path:
        """Return the path of the server's Unix socket."""
        return self.sockets / f".s.PGSQL.{_PORT}"

    @property
    def running(self) -> bool:
        """Return whether the process runs."""
        return self._container.running

    @property
    def pid(self) -> int | None:
        """Return the id of the server's main process, or None before its start."""
        return self._container.pid

    @property
    def ended(self) -> bool:
        """Return whether the process has ended although the stage has not stopped the process."""
        return self.data is not None and not self._container.running

    def start(
        self,
        data: Path,
        *,
        password_file: Path,
        shared_sockets: Path | None,
        source: Source | None,
    ) -> None:
        """Start the process, and wait until it accepts connections.

        Args:
            data: The data folder.
            password_file: The file with the password of the administrator.
            shared_sockets: A second folder for the writer's Unix socket, in which standbys look for the writer.
            source: The server from which a standby replicates; None for a writer.

        Raises:
            UnreachableError: the server ended, or did not accept connections in time.
        """
        self._binaries = postgres.binaries_for((data / "PG_VERSION").read_text(encoding="ascii").strip())
        self._passwords = password_file
        folders = [folder for folder in (self.sockets, shared_sockets) if folder is not None]
        end_processes_in(data)
        # A killed server leaves its lock files. After a restart of the machine, the pid in a lock file can belong to a
        # process that is not PostgreSQL.
        (data / "postmaster.pid").unlink(missing_ok=True)
        for folder in folders:
            if not folder.exists():
                postgres.make_folder(folder)
            (folder / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)
        self._allow(data, master_by_password=True)
        self._master_corrected_at = 0.0
        settings = {
            **_SETTINGS,
            "port": str(_PORT),
            "listen_addresses": "",
            "unix_socket_directories": ",".join(str(folder) for folder in folders),
            "unix_socket_permissions": "0700",
        }
        if source is not None:
            connection = f"host={source.sockets} port={_PORT} user={ADMINISTRATOR} passfile={password_file}"
            settings["primary_conninfo"] = connection
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [*postgres.unprivileged(), str(self._binaries / "postgres"), "-D", str(data), *options]
        write_private(self._container.folder / "command.json", json.dumps({"command": command, "folder": str(data)}))
        self.data, self.configured = data, None
        self._container.start()
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop the process after all standbys have received its data, without waiting for clients."""
        self._container.stop(_STOP_SECONDS)
        self.data, self.ready = None, False

    def remove(self) -> None:
        """Kill the process, and free its address. The data folder belongs to the volume and stays."""
        import shutil

        self._container.remove()
        self._addresses.forget(self.container_name)
        self.data, self.ready = None, False
        shutil.rmtree(self._container.folder, ignore_errors=True)
        shutil.rmtree(self.sockets, ignore_errors=True)

    def sql(self, statements: str) -> str:
        """Run SQL statements as administrator, each in a separate transaction. Returns: the rows, without column names.

        Raises:
            UnreachableError: the server does not answer, or a statement failed.
        """
        command = [str(self._binaries / "psql"), "-h", str(self.sockets), "-p", str(_PORT), "-U", ADMINISTRATOR]
        result = subprocess.run(
            [*command, "-d", "postgres", "--no-psqlrc", "--no-password", "-qAt", "-v", "ON_ERROR_STOP=1"],
            input=statements,
            capture_output=True,
            text=True,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "PGPASSFILE": str(self._passwords)},
            timeout=_SQL_SECONDS,
            check=False,
        )
        if result.returncode != 0:
            # Later lines of the error quote the statement, which may contain the verifier of a password.
            raise UnreachableError(f"{self.container_name}: {result.stderr.strip().splitlines()[:1]}")
        return result.stdout.strip()

    def correct_master(self) -> None:
        """Let the master user log in by IAM only, as long as another user logs in by IAM.

        Aurora does so because the master user becomes a member of each role that the master user creates. PostgreSQL
        has this rule since version 16, and the stage may have an older version. A call within 2 s after another call
        does nothing.

        Raises:
            UnreachableError: the server does not answer.
        """
        if self.data is None or time.monotonic() - self._master_corrected_at < _MASTER_SECONDS:
            return
        by_password = self.sql(_LOG_INS_BY_IAM) == "f"
        if by_password != self._master_by_password:
            self._allow(self.data, master_by_password=by_password)
            self.sql("SELECT pg_reload_conf()")
        self._master_corrected_at = time.monotonic()

    def _allow(self, data: Path, *, master_by_password: bool) -> None:
        """Write the file that says who may log in by which method."""
        text = _ACCESS.format(master=_MASTER_BY_PASSWORD if master_by_password else "")
        (data / "pg_hba.conf").write_text(text, encoding="ascii")
        self._master_by_password = master_by_password

    def apply(self, parameters: Mapping[str, str]) -> list[str]:
        """Set the parameters that PostgreSQL knows. Returns: the parameters that need a restart of the server."""
        known = set(self.sql("SELECT name FROM pg_settings WHERE context <> 'internal'").splitlines()) - _NOT_APPLIED
        stored = self.sql("SELECT DISTINCT name FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf'")
        for name in stored.splitlines():
            if name not in parameters and name in known:
                self.sql(f"ALTER SYSTEM RESET {quoted(name)}")
        for name, value in sorted(parameters.items()):
            if name in known:
                escaped = value.replace("'", "''")
                self.sql(f"ALTER SYSTEM SET {quoted(name)} TO '{escaped}'")
        self.sql("SELECT pg_reload_conf()")
        pending = self.sql("SELECT name FROM pg_settings WHERE pending_restart").splitlines()
        return [name for name in pending if name in parameters]

    def promote(self) -> None:
        """Turn a standby into a writer after the standby has applied all data that it has received.

        Raises:
            UnreachableError: the promotion failed or took longer than a minute.
        """
        if self.sql("SELECT pg_is_in_recovery()") == "t" and self.sql("SELECT pg_promote(true, 15)") != "t":
            raise UnreachableError(f"{self.container_name} was not promoted")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            try:
                self.sql("SELECT 1")
            except (UnreachableError, subprocess.TimeoutExpired):
                if not self._container.running:
                    break
                time.sleep(0.1)
            else:
                self.ready = True
                return
        raise UnreachableError(f"{self.container_name} does not accept connections", where=str(self._container.log))


def recipe(container: Container) -> ContainerCommand:
    """Read the command of a server from the file that `PostgresServer.start` has written, and return the command."""
    import signal

    names = ("PATH", "PYTHONPATH", "LANG", "TMPDIR", "VIRTUAL_ENV")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    stored = read_json(container.folder / "command.json")
    # After SIGTERM, PostgreSQL waits until all clients have disconnected. After SIGINT, PostgreSQL disconnects all
    # clients and shuts down cleanly.
    return ContainerCommand(stored["command"], environment, Path(stored["folder"]), signal.SIGINT)
