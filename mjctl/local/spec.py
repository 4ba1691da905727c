"""What Terraform says about one process."""

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
    """One supervised process as `terraform/modules/local_process` defines it.

    `owner` is the id of the Terraform resource it belongs to: a resource that has been replaced no longer owns the
    process, so destroying that resource must leave the process alone.
    `ready` and `live` are probe addresses (see `mjctl.local.probe`): ready ends the start, live feeds the watchdog.
    `tls`: it takes connections with TLS only, and presents the region's certificate.
    `rolling`: replaced one after another within the region, never two at a time.
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
        return Layout(self.region_dir)

    @classmethod
    def parse(cls, text: str) -> ProcessSpec:
        """Read the JSON of one specification.

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
            raise ConfigError(f"the process specification does not fit: {error}") from None

    def serialise(self) -> str:
        values = {**self.__dict__, "region_dir": str(self.region_dir)}
        return json.dumps(values, indent=2, sort_keys=True)

    def record(self) -> None:
        """Remember that the supervisor runs this."""
        write_private(self.layout.programs / f"{self.name}.json", self.serialise())


def recorded(layout: Layout, name: str) -> ProcessSpec | None:
    """What `name` was last started with; None when it never was or its record is damaged."""
    return _load(layout.programs / f"{name}.json")


def all_recorded(layout: Layout) -> list[ProcessSpec]:
    """What every program of the region was last started with, by name."""
    return [spec for path in sorted(layout.programs.glob("[!.]*.json")) if (spec := _load(path)) is not None]


def _load(path: Path) -> ProcessSpec | None:
    values = read_json(path)
    try:
        return ProcessSpec.parse(json.dumps(values)) if values else None
    except ConfigError:
        return None
