"""Where the files of one local region lie, and who may read them."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mjctl.models.errors import PermissionDeniedError

# sun_path holds 104 bytes on macOS and 108 on Linux; supervisord adds a dot and a pid while it binds.
_LONGEST_SOCKET_PATH = 90


@dataclass(frozen=True)
class Layout:
    """Paths of one region below its directory, see `Workspace.region_dir`."""

    region_dir: Path

    @property
    def scope(self) -> str:
        """The options that name the region to a command; its folder lies in its environment's."""
        return f"--env {self.region_dir.parent.name} --region {self.region_dir.name}"

    @property
    def run(self) -> Path:
        return self.region_dir / "run"

    @property
    def data(self) -> Path:
        return self.region_dir / "data"

    @property
    def logs(self) -> Path:
        return self.region_dir / "logs"

    @property
    def secrets(self) -> Path:
        return self.region_dir / "secrets"

    @property
    def supervisor_record(self) -> Path:
        return self.run / "supervisor.json"

    @property
    def supervisor_config(self) -> Path:
        return self.run / "supervisord.conf"

    @property
    def supervisor_base_config(self) -> Path:
        """What `supervisor_config` begins with; the rest are the files of `program_configs`."""
        return self.run / "supervisord.base.conf"

    @property
    def program_configs(self) -> Path:
        """Folder with one file per program, in the form of supervisord's configuration."""
        return self.run / "conf.d"

    @property
    def programs(self) -> Path:
        """Folder of the definitions that the programs run with: one JSON file each."""
        return self.run / "programs"

    @property
    def incidents(self) -> Path:
        return self.run / "incidents.jsonl"

    @property
    def data_plane(self) -> Path:
        return self.run / "data-plane.json"

    @property
    def web_client(self) -> Path:
        """Link to the folder of the web client that the API serves."""
        return self.run / "web"

    @property
    def database_secret(self) -> Path:
        return self.secrets / "database.json"

    @property
    def cache_secret(self) -> Path:
        return self.secrets / "cache.json"

    @property
    def redis_config(self) -> Path:
        return self.secrets / "redis.conf"

    @property
    def aws_key(self) -> Path:
        """The key that the emulated AWS asks for."""
        return self.secrets / "aws.json"

    @property
    def aws_profile(self) -> Path:
        """The same key as a credentials file of the AWS SDKs."""
        return self.secrets / "aws-credentials"

    @property
    def tls(self) -> Path:
        """Folder of the region's certificates and their keys."""
        return self.secrets / "tls"

    @property
    def tls_authority(self) -> Path:
        """The private authority's certificate: public, what clients verify with."""
        return self.tls / "authority.pem"

    @property
    def tls_authority_key(self) -> Path:
        return self.tls / "authority.key"

    @property
    def tls_certificate(self) -> Path:
        """What every listener of the region presents."""
        return self.tls / "server.pem"

    @property
    def tls_key(self) -> Path:
        return self.tls / "server.key"

    @property
    def ports(self) -> Path:
        return self.region_dir / "ports.json"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make every folder, private to this user.

        Raises:
            PermissionDeniedError: a folder cannot be made.
        """
        folders = (self.run, self.data, self.logs, self.secrets, self.program_configs, self.programs)
        for folder in (self.region_dir, *folders):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise PermissionDeniedError(
                    f"the folder cannot be made: {error.strerror}",
                    where=str(folder),
                    hint="make its parent writable, or set MJCTL_HOME to a folder of yours",
                ) from None


def private_runtime_dir() -> Path:
    """A short folder of this user's for sockets and locks of the whole machine.

    Raises:
        PermissionDeniedError: a folder of that name exists and is another user's, or open to others.
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
            hint="remove it, or set TMPDIR to a folder of yours",
        )
    return folder


def socket_path(region_dir: Path) -> Path:
    """Where the supervisor of `region_dir` listens; distinct for every checkout and region."""
    digest = hashlib.sha256(os.fsencode(region_dir.resolve())).hexdigest()[:16]
    return private_runtime_dir() / f"{digest}.sock"
