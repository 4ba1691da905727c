"""Builds the archive of the functions: a zip of the package `gameserver` and its dependencies.

Equal code, dependencies and runtime give an archive of equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mjctl.files import file_lock, replacing
from mjctl.models.errors import ConfigError, DependencyError, NotFoundError, UnreachableError

# Lambda's limits: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_UNZIPPED_BYTES = 250 * 1024 * 1024
MAX_ZIPPED_BYTES = 50 * 1024 * 1024

# Version of the archive's format. If a change of this module changes the bytes of archives, the developer increases the
# version, because the cache would otherwise return archives in the old format.
_FORMAT = "2"
_PIP_SECONDS = 600
_KEPT_ARCHIVES = 6
_KEPT_DEPENDENCIES = 2
# Modification time of all files in the archive: the earliest time that a zip can contain.
_EPOCH = (1980, 1, 1, 0, 0, 0)
# Folders and files that the archive leaves out, because no function needs them at run time, and because pip's records
# of an installation can differ between machines.
_LEFT_OUT_FOLDERS = frozenset({"__pycache__", "bin", "tests"})
_LEFT_OUT_SUFFIXES = (".c", ".h", ".pxd", ".pyc", ".pyi", ".pyx", "/INSTALLER", "/RECORD", "/REQUESTED")
# Dependencies that the archive leaves out, because only `gameserver serve` or the backup task uses them.
_SERVER_ONLY = (
    "aiofastnet",
    "annotated_types",
    "picows",
    "pydantic",
    "pydantic_core",
    "python_socks",
    "typing_inspection",
    "uvloop",
    "zstandard",
)
# botocore contains descriptions of 400 AWS services in 15 MB. The archive contains only the descriptions of services
# that gameserver/runtime/aws.py calls or that provide credentials.
AWS_SERVICES = frozenset({"cognito-idp", "dynamodb", "ecs", "kms", "secretsmanager", "sesv2", "sns", "sqs", "sts"})
_BOTOCORE_DATA = "botocore/data/"


@dataclass(frozen=True)
class Runtime:
    """Describes the system on which the Lambda functions run.

    Attributes:
        python: The version of Python, e.g. `3.13`.
        architecture: `x86_64` or `arm64`.
        platforms: The platforms for which pip may install wheels, by pip's names; () for the platform of this machine.
    """

    python: str
    architecture: str
    platforms: tuple[str, ...] = ()


def lambda_runtime(architecture: str = "x86_64") -> Runtime:
    """Return the runtime of AWS Lambda: Python 3.13 on Amazon Linux 2023 (glibc 2.34).

    Args:
        architecture: `x86_64` or `arm64`.
    """
    machine = {"x86_64": "x86_64", "arm64": "aarch64"}[architecture]
    tags = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")
    return Runtime("3.13", architecture, tuple(f"{tag}_{machine}" for tag in tags))


def local_runtime() -> Runtime:
    """Return the runtime of the running Python, with which the emulated Lambda runs functions on this machine."""
    machine = {"aarch64": "arm64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    return Runtime(f"{sys.version_info.major}.{sys.version_info.minor}", machine)


@dataclass(frozen=True)
class FunctionPackage:
    """Describes an archive of the functions.

    Attributes:
        path: The path of the archive.
        sha256_base64: The SHA-256 of the archive in base64, as Terraform's `source_code_hash` expects it.
        architecture: `x86_64` or `arm64`.
        python: The version of Python that runs the functions, e.g. `3.13`.
        zipped_bytes: The size of the archive in bytes.
        unzipped_bytes: The sum of the sizes of the unpacked files in bytes.
        built: True if `build_functions` built the archive, False if the cache already had the archive.
    """

    path: Path
    sha256_base64: str
    architecture: str
    python: str
    zipped_bytes: int
    unzipped_bytes: int
    built: bool


def build_functions(source: Path, cache: Path, runtime: Runtime | None = None) -> FunctionPackage:
    """Return the archive of `source`/gameserver, and build the archive if the cache does not have it.

    Args:
        source: The folder that contains gameserver/.
        cache: The folder that keeps the last 6 archives and the last 2 installations of dependencies.
        runtime: The system on which the functions run, by default AWS Lambda on x86_64.

    Raises:
        NotFoundError: `source` contains no game server.
        DependencyError: the running Python has no pip.
        UnreachableError: pip could not install the dependencies.
        ConfigError: the archive exceeds Lambda's limit of 50 MiB zipped or 250 MiB unzipped.
    """
    runtime = runtime or lambda_runtime()
    game = source / "gameserver"
    requirements = game / "requirements.txt"
    if not requirements.is_file():
        raise NotFoundError(
            "the game server's requirements.txt does not exist, so there is nothing to package",
            where=str(requirements),
            hint="check out the folder gameserver/ again",
        )
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file_lock(cache / "lock"):
        archive = cache / f"functions-{_digest(game, runtime)}.zip"
        missing = not archive.is_file()
        if missing:
            _make(archive, game, _dependencies(requirements, cache, runtime))
            for old in _by_age(cache, "functions-*.zip")[_KEPT_ARCHIVES:]:
                old.unlink()
        else:
            # Set the archive's modification time to now, because the cache keeps the 6 archives with the newest
            # modification times.
            archive.touch()
    with zipfile.ZipFile(archive) as opened:
        unzipped = sum(entry.file_size for entry in opened.infolist())
    _check_size(archive, unzipped)
    digest = base64.b64encode(_sha256_of(archive)).decode()
    return FunctionPackage(
        archive, digest, runtime.architecture, runtime.python, archive.stat().st_size, unzipped, missing
    )


def _digest(game: Path, runtime: Runtime) -> str:
    digest = hashlib.sha256(repr((_FORMAT, runtime)).encode())
    for name, path in _members(game, "gameserver"):
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _dependencies(requirements: Path, cache: Path, runtime: Runtime) -> Path:
    """Return the cache's folder of the dependencies in `requirements`, which pip installs if the folder is missing."""
    key = hashlib.sha256(repr((_FORMAT, runtime)).encode() + requirements.read_bytes()).hexdigest()[:32]
    folder = cache / f"dependencies-{key}"
    if folder.is_dir():
        os.utime(folder)
        return folder
    with tempfile.TemporaryDirectory(dir=cache, prefix=".dependencies-") as temporary:
        _install(requirements, Path(temporary) / "site", runtime)
        (Path(temporary) / "site").rename(folder)
    for old in _by_age(cache, "dependencies-*")[_KEPT_DEPENDENCIES:]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _install(requirements: Path, folder: Path, runtime: Runtime) -> None:
    foreign = [f"--platform={name}" for name in runtime.platforms]
    if foreign:
        foreign += [f"--python-version={runtime.python}", "--implementation=cp"]
    options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile", "--no-input", "--quiet"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            *options,
            *foreign,
            f"--target={folder}",
            f"--requirement={requirements}",
        ],
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PIP_SECONDS,
        check=False,
    )
    if "No module named pip" in done.stderr:
        raise DependencyError("this Python has no pip", where=sys.executable, hint="run: python -m ensurepip")
    if done.returncode != 0:
        last = "\n".join(f"  | {line}" for line in done.stderr.strip().splitlines()[-5:])
        raise UnreachableError(
            f"pip could not install the dependencies of the functions\n{last}",
            where=str(requirements),
            hint="check the network and pip's index (`pip config list`), then run the command again",
        )


def _make(archive: Path, game: Path, dependencies: Path) -> None:
    with replacing(archive) as stream:
        _write_zip(stream, [*_members(game, "gameserver"), *_members(dependencies, "")])


def _write_zip(stream: IO[bytes], members: list[tuple[str, Path]]) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, path in sorted(members):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            # Mark the file as written by Unix (3), so that every program reads `external_attr` as a Unix file mode.
            entry.create_system = 3
            # Let all users read the file, because Lambda runs the functions as another user than the owner of the file.
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes())


def _members(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of `folder` that the archive contains, in sorted order, each with its name in the archive."""
    for path in sorted(folder.rglob("*")):
        member = (Path(name) / path.relative_to(folder)).as_posix()
        if _belongs(member) and path.is_file():
            yield member, path


def _belongs(member: str) -> bool:
    parts = member.split("/")
    if parts[0].split("-")[0] in _SERVER_ONLY or member.endswith(_LEFT_OUT_SUFFIXES):
        return False
    if _LEFT_OUT_FOLDERS.intersection(parts):
        return False
    described = member.removeprefix(_BOTOCORE_DATA).split("/")
    return not member.startswith(_BOTOCORE_DATA) or len(described) == 1 or described[0] in AWS_SERVICES


def _check_size(archive: Path, unzipped: int) -> None:
    zipped = archive.stat().st_size
    for size, most, what in ((unzipped, MAX_UNZIPPED_BYTES, "unzipped"), (zipped, MAX_ZIPPED_BYTES, "zipped")):
        if size > most:
            raise ConfigError(
                f"the functions' archive has {size / 2**20:.0f} MiB {what}, and Lambda's limit is {most / 2**20:.0f} "
                f"MiB",
                where=str(archive),
                hint="remove a dependency from gameserver/requirements.in",
            )


def _by_age(cache: Path, pattern: str) -> list[Path]:
    """List the files and folders of the cache that match `pattern`, from the last used to the first used."""
    return sorted(cache.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)


def _sha256_of(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
