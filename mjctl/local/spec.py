"""The definition of a supervised process, as Terraform passes it to mjctl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mjctl.files import read_json, write_private
from mjctl.local.layout import Layout
from mjctl.models.errors import ConfigError

Kind = Literal["redis", "postgres", "aws", "gameserver"]


@dataclass(frozen=True)
class ProcessSpec:
    """Describes a supervised process, as `terraform/modules/local_process` defines it.

    Attributes:
        name: The program's name in the supervisor.
        kind: The program of the process: `redis`, `postgres`, `aws` (the emulated AWS) or `gameserver` (a game server,
            the API or the worker).
        owner: The id of the Terraform resource to which the process belongs. When Terraform replaces the resource, the
            process belongs to the new resource, and the destruction of the old resource must not stop the process.
        region_dir: The folder of the region.
        port: The TCP port on 127.0.0.1.
        ready: The probe address (see `mjctl.local.probe`) that answers when the process has started.
        live: The probe address that the watchdog checks.
        arguments: The arguments of a game server's program, or options of Redis as `name=value`.
        environment: The environment variables of the process.
        start_seconds: The longest time, in seconds, that the process may need to become ready.
        stop_seconds: The seconds after which the supervisor kills a process that does not stop.
        rolling: True if a deploy replaces this process and the region's other rolling processes one after another.
        tls: True if the process accepts only TLS and presents the region's certificate.
    """

    name: str
    kind: Kind
    owner: str
    region_dir: Path
    port: int
    ready: str
    live: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 30.0
    stop_seconds: float = 10.0
    rolling: bool = False
    tls: bool = False

    @property
    def layout(self) -> Layout:
        """Return the paths of the region's files."""
        return Layout(self.region_dir)

    @classmethod
    def parse(cls, text: str) -> ProcessSpec:
        """Return the specification that the JSON object `text` describes.

        Raises:
            ConfigError: a field is missing or unknown.
        """
        values: dict[str, Any] = json.loads(text)
        try:
            return cls(
                **{
                    **values,
                    "region_dir": Path(values["region_dir"]),
                    "arguments": tuple(values.get("arguments", ())),
                }
            )
        except (KeyError, TypeError) as error:
            raise ConfigError(f"the specification of a process is invalid: {error}") from None

    def serialise(self) -> str:
        """Return the specification as JSON that `parse` reads."""
        values = {**self.__dict__, "region_dir": str(self.region_dir)}
        return json.dumps(values, indent=2, sort_keys=True)

    def record(self) -> None:
        """Write this specification to the region's files, as the newest specification of the process."""
        write_private(self.layout.programs / f"{self.name}.json", self.serialise())


def recorded(layout: Layout, name: str) -> ProcessSpec | None:
    """Return the specification with which `name` was last started, or None if its record is missing or damaged."""
    return _load(layout.programs / f"{name}.json")


def all_recorded(layout: Layout) -> list[ProcessSpec]:
    """Return the specifications with which the region's programs were last started, in the order of their names."""
    return [spec for path in sorted(layout.programs.glob("[!.]*.json")) if (spec := _load(path)) is not None]


def _load(path: Path) -> ProcessSpec | None:
    values = read_json(path)
    try:
        return ProcessSpec.parse(json.dumps(values)) if values else None
    except ConfigError:
        return None
