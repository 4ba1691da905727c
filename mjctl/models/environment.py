"""The environment: what `configs/<name>.yaml` says, validated and frozen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

# Physical names such as `<project>-<environment>-<region>-...` must stay within the 32 characters of a target group.
ShortName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,14}[a-z0-9]$")]
RegionName = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
ZoneName = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mode(_Section):
    """One way to play."""

    seats: int = Field(ge=1, le=100, description="players at most in one match")
    duration_seconds: float = Field(ge=1, le=3600)
    rules: str = "arena"


class Game(_Section):
    """The game servers of one region."""

    servers_per_zone: int = Field(default=1, ge=1, le=50)
    tick_rate_hz: int = Field(default=20, ge=1, le=60)
    max_players_per_server: int = Field(default=2000, ge=1, le=20000)
    modes: dict[str, Mode] = Field(
        default_factory=lambda: {
            "arena": Mode(seats=10, duration_seconds=180),
            "sprint": Mode(seats=10, duration_seconds=8),
            "probe": Mode(seats=2, duration_seconds=2),
        },
        description="`probe` is what `mjctl health` plays; it must seat two and be short",
    )

    @model_validator(mode="after")
    def _probe_is_short(self) -> Game:
        probe = self.modes.get("probe")
        if probe is None or probe.seats < 2 or probe.duration_seconds > 10:
            raise ValueError("modes must hold `probe` with at least 2 seats and at most 10 seconds: health plays it")
        return self


class LocalSettings(_Section):
    """Only for the target `local`."""

    ports: dict[str, Annotated[int, Field(ge=1024, le=65535)]] = Field(
        default_factory=dict,
        description="pins `<region>/<process>` to a port, e.g. us-east-1/api: 8080; every other port is chosen free",
    )


class Drift(_Section):
    """What `mjctl drift` overlooks."""

    ignore: tuple[str, ...] = Field(
        default=(),
        description="globs (* and ?) over resource addresses whose drift is expected, e.g. module.api.*",
    )


class Retention(_Section):
    """How many backups `mjctl backup prune` keeps: the newest, and the newest of so many days, weeks and months."""

    last: int = Field(default=3, ge=0)
    daily: int = Field(default=7, ge=0)
    weekly: int = Field(default=5, ge=0)
    monthly: int = Field(default=12, ge=0)


class BackupSettings(_Section):
    """Portable backups."""

    store: str | None = Field(
        default=None, description="s3://BUCKET/PREFIX or a directory; by default what the stack provides"
    )
    recovery_point_seconds: int = Field(
        default=86_400, ge=60, description="promised: no more than this is ever lost; health warns of older backups"
    )
    cache_namespaces: tuple[str, ...] = Field(
        default=("*", "!leaderboard", "!profile"),
        description="globs over cache namespaces worth keeping; `!` takes away, the last that fits decides. "
        "Leaderboard and profiles are computed anew from the database.",
    )
    keep: Retention = Retention()


class Region(_Section):
    zones: tuple[ZoneName, ...] = Field(min_length=3, max_length=6)

    @model_validator(mode="after")
    def _zones_are_distinct(self) -> Region:
        if len(set(self.zones)) != len(self.zones):
            raise ValueError("zones must be distinct")
        return self


class Environment(_Section):
    """One environment; `name` is the file's name and stands nowhere in the file."""

    name: ShortName
    project: ShortName
    target: Literal["local", "sandbox", "aws"]
    regions: dict[RegionName, Region] = Field(min_length=1)
    concurrency: int = Field(default=4, ge=1, le=32, description="regions worked on at the same time")
    game: Game = Game()
    backup: BackupSettings = BackupSettings()
    local: LocalSettings = LocalSettings()
    drift: Drift = Drift()

    @model_validator(mode="after")
    def _consistent(self) -> Environment:
        for name, region in self.regions.items():
            for zone in region.zones:
                if not zone.startswith(name):
                    raise ValueError(f"regions.{name}.zones: {zone} is not a zone of {name}")
        for pin in self.local.ports:
            if pin.split("/", 1)[0] not in self.regions or "/" not in pin:
                raise ValueError(f"local.ports.{pin}: expected <region>/<process> with one of this file's regions")
        return self
