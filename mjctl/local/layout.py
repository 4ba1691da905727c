"""The paths of a local region's files, which only the user of mjctl can read."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mjctl.models.errors import PermissionDeniedError

# The path of a Unix socket may have 104 bytes on macOS and 108 on Linux. When supervisord starts, it appends a dot and
# its pid to the path of its socket.
_LONGEST_SOCKET_PATH = 90


@dataclass(frozen=True)
class Layout:
    """Names the files of a local region.

    Attributes:
        region_dir: The folder of the region (`Workspace.region_dir`).
    """

    region_dir: Path

    @property
    def scope(self) -> str:
        """Return the command-line options that select the region: `--env ENV --region REGION`."""
        return f"--env {self.region_dir.parent.name} --region {self.region_dir.name}"

    @property
    def run(self) -> Path:
        """Return the folder of the files that the running processes need."""
        return self.region_dir / "run"

    @property
    def data(self) -> Path:
        """Return the folder of the data of the state store, the cache, PostgreSQL and the emulated AWS."""
        return self.region_dir / "data"

    @property
    def logs(self) -> Path:
        """Return the folder of the processes' logs."""
        return self.region_dir / "logs"

    @property
    def secrets(self) -> Path:
        """Return the folder of passwords, access keys, certificates and private keys."""
        return self.region_dir / "secrets"

    @property
    def supervisor_record(self) -> Path:
        """Return the file with the supervisor's owner (a Terraform resource), socket and pid, in JSON."""
        return self.run / "supervisor.json"

    @property
    def supervisor_config(self) -> Path:
        """Return the supervisor's configuration file: the base configuration and all programs."""
        return self.run / "supervisord.conf"

    @property
    def supervisor_base_config(self) -> Path:
        """Return the file with the first part of `supervisor_config`, which contains no program but the watchdog."""
        return self.run / "supervisord.base.conf"

    @property
    def program_configs(self) -> Path:
        """Return the folder of the programs' parts of `supervisor_config`: a file for each program."""
        return self.run / "conf.d"

    @property
    def programs(self) -> Path:
        """Return the folder of the `ProcessSpec` of each running program, in JSON."""
        return self.run / "programs"

    @property
    def incidents(self) -> Path:
        """Return the file to which the watchdog appends incidents, a JSON object on each line."""
        return self.run / "incidents.jsonl"

    @property
    def data_plane(self) -> Path:
        """Return the file with the manifest of the data plane, in JSON."""
        return self.run / "data-plane.json"

    @property
    def web_client(self) -> Path:
        """Return the link to the folder of the web client that the API serves."""
        return self.run / "web"

    @property
    def database_secret(self) -> Path:
        """Return the file with the user and the password of PostgreSQL, in JSON."""
        return self.secrets / "database.json"

    @property
    def cache_secret(self) -> Path:
        """Return the file with the user and the password of the state store and the cache, in JSON."""
        return self.secrets / "cache.json"

    @property
    def redis_config(self) -> Path:
        """Return the configuration file of the state store and the cache, which contains the password's digest."""
        return self.secrets / "redis.conf"

    @property
    def aws_key(self) -> Path:
        """Return the file with the access key of the emulated AWS, in JSON."""
        return self.secrets / "aws.json"

    @property
    def aws_profile(self) -> Path:
        """Return the credentials file of the AWS SDKs with the access key of the emulated AWS."""
        return self.secrets / "aws-credentials"

    @property
    def tls(self) -> Path:
        """Return the folder of the region's certificates and their keys."""
        return self.secrets / "tls"

    @property
    def tls_authority(self) -> Path:
        """Return the file with the private authority's certificate, with which clients verify the servers.

        The authority's certificate is no secret.
        """
        return self.tls / "authority.pem"

    @property
    def tls_authority_key(self) -> Path:
        """Return the file with the authority's private key."""
        return self.tls / "authority.key"

    @property
    def tls_certificate(self) -> Path:
        """Return the file with the certificate that every server of the region presents."""
        return self.tls / "server.pem"

    @property
    def tls_key(self) -> Path:
        """Return the file with the private key of the servers' certificate."""
        return self.tls / "server.key"

    @property
    def ports(self) -> Path:
        """Return the file with the port of each process, in JSON."""
        return self.region_dir / "ports.json"

    def log(self, name: str) -> Path:
        """Return the log file of the program `name`."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Create the region's missing folders, with mode 0700.

        Raises:
            PermissionDeniedError: a folder cannot be created.
        """
        folders = (self.run, self.data, self.logs, self.secrets, self.program_configs, self.programs)
        for folder in (self.region_dir, *folders):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise PermissionDeniedError(
                    f"cannot create the folder: {error.strerror}",
                    where=str(folder),
                    hint="make the parent folder writable, or set MJCTL_HOME to a folder that you own",
                ) from None


def private_runtime_dir() -> Path:
    """Return the private folder, with a short path, for this user's sockets and locks of all checkouts.

    Raises:
        PermissionDeniedError: the folder exists, but belongs to another user or is accessible to other users.
    """
    name = f"mjctl-{os.getuid()}"
    folder = Path(tempfile.gettempdir()) / name
    if len(os.fsencode(folder)) > _LONGEST_SOCKET_PATH - len("/0123456789abcdef.sock"):
        folder = Path("/tmp") / name  # noqa: S108  TMPDIR is too long for a socket; the checks below make it safe
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionDeniedError(
            "the folder for sockets is not private to this user",
            where=str(folder),
            hint="remove the folder for sockets, or set TMPDIR to a folder that you own",
        )
    return folder


def socket_path(region_dir: Path) -> Path:
    """Return the path of the socket of the region's supervisor, which differs for every checkout and region."""
    digest = hashlib.sha256(os.fsencode(region_dir.resolve())).hexdigest()[:16]
    return private_runtime_dir() / f"{digest}.sock"
