"""Creates, copies and describes data folders of PostgreSQL for the emulated Aurora."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from mjctl.files import read_json, write_private
from mjctl.local import postgres

ADMINISTRATOR = "rdsadmin"
"""The name of the superuser of each database server, as on Aurora. Only the stage knows the superuser's password."""

SUPERUSER = "rds_superuser"
"""The role of the master user.

https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Appendix.PostgreSQL.CommonDBATasks.Roles.rds_superuser.html
"""

IAM_ROLE = "rds_iam"
"""The members of this role log in by IAM.

https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.DBAccounts.html
"""

_STANDBY = "standby.signal"


@dataclass(frozen=True)
class Source:
    """Names the server from which a standby copies its data.

    Attributes:
        cluster: The ARN of the cluster to which the server belongs.
        sockets: The folder of the server's Unix socket.
        password: The password of `ADMINISTRATOR`.
        version: The major version of PostgreSQL.
    """

    cluster: str
    sockets: Path
    password: str
    version: str


class Volume:
    """Holds the storage of an Aurora cluster: the data folder of its writer, and a copy for each reader.

    On AWS, all instances of a cluster share the volume. Here, only the writer works on the folder `volume`, and each
    reader replicates the writer's data into its own copy. A failover within the cluster exchanges the data folders of
    the two instances, so that no committed transaction is lost, as on AWS.

    Attributes:
        folder: The folder that contains all files of the volume.
        data: The data folder of the writer.
    """

    def __init__(self, folder: Path) -> None:
        """Open a volume, which may be empty."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "volume"
        self._file = folder / "volume.json"
        stored = read_json(self._file)
        self._generation: int = stored.get("generation", 0)
        self._copies: dict[str, int] = stored.get("copies", {})
        self._follows: str | None = stored.get("follows")
        self.password: str = stored.get("password") or secrets.token_hex(24)
        self._save()

    @property
    def exists(self) -> bool:
        """Return whether the data folder of the writer is complete."""
        return self._generation > 0 and (self.data / "PG_VERSION").exists()

    @property
    def version(self) -> str:
        """Return the major version of PostgreSQL that has written the data."""
        return (self.data / "PG_VERSION").read_text(encoding="ascii").strip()

    @property
    def is_copy(self) -> bool:
        """Return whether the volume is a replica of another region's volume."""
        return (self.data / _STANDBY).exists()

    @property
    def password_file(self) -> Path:
        """Return the file with which PostgreSQL's programs log in as administrator."""
        return self.folder / "passwords"

    def follows(self, source: Source | None) -> bool:
        """Return whether the volume is a replica of `source`. With None, return whether the volume is no replica."""
        if source is None:
            return not self.is_copy
        return self.is_copy and self._follows == source.cluster

    def create(self, user: str, password: str, database: str | None) -> None:
        """Create the database as Aurora does, with a master user who is no superuser.

        Raises:
            DependencyError: PostgreSQL is not installed.
            UnreachableError: PostgreSQL's programs failed.
        """
        binaries = postgres.installations()[0]
        unfinished = _unfinished(self.data)
        secret = self.folder / "password"
        write_private(secret, self.password)
        try:
            options = ["-U", ADMINISTRATOR, "--pwfile", str(secret), "-A", "scram-sha-256", "-E", "UTF8"]
            more = ["--no-locale", "--no-sync", "--no-instructions"]
            postgres.run_program([str(binaries / "initdb"), "-D", str(unfinished), *options, *more])
        finally:
            secret.unlink()
        # The command line of the server contains all settings. The settings file of initdb would add other settings.
        (unfinished / "postgresql.conf").write_text("", encoding="ascii")
        master, verifier = quoted(user), postgres.scram_verifier(password)
        statements = [
            f"CREATE ROLE {SUPERUSER} NOLOGIN;",
            f"GRANT pg_monitor, pg_signal_backend, pg_read_all_data, pg_write_all_data TO {SUPERUSER};",
            f"CREATE ROLE {master} LOGIN CREATEDB CREATEROLE IN ROLE {SUPERUSER} PASSWORD '{verifier}';",
            f"CREATE ROLE {IAM_ROLE} NOLOGIN;",
            f"GRANT {IAM_ROLE} TO {master} WITH ADMIN OPTION;",
        ]
        if database:
            statements.append(f"CREATE DATABASE {quoted(database)} OWNER {master};")
        postgres.run_single_user(binaries, unfinished, "\n".join(statements) + "\n")
        unfinished.rename(self.data)
        self._begin(None)

    def copy_from(self, source: Source) -> None:
        """Replace the volume by a copy of another region's volume.

        Raises:
            UnreachableError: the source does not answer.
        """
        self._discard()
        self.password = source.password
        self._save()
        self._copy(source, self.data)
        self._begin(source.cluster)

    def mark_promoted(self) -> None:
        """Record that the volume is no longer a replica of another volume."""
        self._follows = None
        self._save()

    def copy_for(self, instance: str) -> Path:
        """Return the data folder of a reader."""
        return self.folder / f"copy-{instance}"

    def has_copy_for(self, instance: str) -> bool:
        """Return whether a reader's data folder is a complete copy of the current volume."""
        return self._copies.get(instance) == self._generation and self.copy_for(instance).exists()

    def make_copy_for(self, instance: str, source: Source) -> None:
        """Copy the volume for a reader.

        Raises:
            UnreachableError: the writer does not answer.
        """
        self.remove_copy_of(instance)
        self._copy(source, self.copy_for(instance))
        self._copies[instance] = self._generation
        self._save()

    def move_copy(self, former: str, instance: str) -> None:
        """Give the data folder of the reader `former` to another instance, after both servers have stopped."""
        generation = self._copies.pop(former, None)
        if generation is not None and not self.copy_for(instance).exists():
            self.copy_for(former).rename(self.copy_for(instance))
            self._copies[instance] = generation
        self._save()

    def remove_copy_of(self, instance: str) -> None:
        """Delete the data folder of a reader."""
        shutil.rmtree(self.copy_for(instance), ignore_errors=True)
        self._copies.pop(instance, None)
        self._save()

    def remove(self) -> None:
        """Delete all files of the volume."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _copy(self, source: Source, target: Path) -> None:
        binaries = postgres.binaries_for(source.version)
        unfinished = _unfinished(target)
        command = [str(binaries / "pg_basebackup"), "-D", str(unfinished), "-h", str(source.sockets), "-p", "5432"]
        options = ["-U", ADMINISTRATOR, "-X", "stream", "-c", "fast", "--no-password", "--no-sync"]
        postgres.run_program([*command, *options], variables={"PGPASSFILE": str(self.password_file)})
        (unfinished / _STANDBY).touch(mode=0o600)
        unfinished.rename(target)

    def _discard(self) -> None:
        """Rename the data folder to `volume.former`, because AWS keeps a snapshot of a volume after a failover."""
        if self.data.exists():
            former = self.folder / "volume.former"
            shutil.rmtree(former, ignore_errors=True)
            self.data.rename(former)

    def _begin(self, follows: str | None) -> None:
        self._generation += 1
        self._follows = follows
        self._save()

    def _save(self) -> None:
        state = {
            "generation": self._generation,
            "copies": self._copies,
            "follows": self._follows,
            "password": self.password,
        }
        write_private(self._file, json.dumps(state))
        write_private(self.password_file, f"*:*:*:{ADMINISTRATOR}:{self.password}\n")


def _unfinished(folder: Path) -> Path:
    """Create and return an empty folder.

    The caller renames it to `folder` when all data is in it, so that no server uses incomplete data.
    """
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    postgres.make_folder(unfinished)
    return unfinished


def quoted(identifier: str) -> str:
    """Return an SQL identifier in double quotes."""
    return '"' + identifier.replace('"', '""') + '"'
