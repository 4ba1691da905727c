"""The environment: what `configs/<name>.yaml` says, validated and frozen."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, ip_network
from itertools import combinations
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from mjctl.models.aws_settings import AwsSettings
from mjctl.models.section import Section

# Physical names such as `<project>-<environment>-<region>-...` must stay within the 32 characters of a target group.
ShortName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,14}[a-z0-9]$")]
RegionName = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
ZoneName = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$")]


# The stacks of the production targets that exist once; every other unit is a region.
FOUNDATION = "foundation"
EDGE = "edge"

# Each region of the target `local` has one of these, besides its game servers.
LOCAL_PROCESSES = ("redis", "postgres", "aws", "api", "worker")
MAX_SERVERS_PER_ZONE = 50
# The production stacks spread every part over three zones, so that the loss of one leaves a majority.
_ZONES_ON_AWS = 3


def game_servers(zones: Sequence[str], servers_per_zone: int) -> dict[str, str]:
    """Return the zone of each game server of a local region, by the server's name.

    The name identifies the server's process, ports and Terraform address: another name replaces the server.
    """
    return {f"game-{zone}-{number}": zone for zone in zones for number in range(1, servers_per_zone + 1)}


def _range_of_a_vpc(text: str) -> str:
    network = IPv4Network(text)
    if not 16 <= network.prefixlen <= 20:
        raise ValueError(f"{text}: a VPC of three zones takes a /16 to a /20")
    return str(network)


Cidr = Annotated[str, AfterValidator(_range_of_a_vpc)]


class ModeSettings(Section):
    """One way to play."""

    seats: int = Field(ge=1, le=100, description="players at most in one match")
    duration_seconds: float = Field(ge=1, le=3600)
    rules: str = "arena"


class Game(Section):
    """The game servers of one region."""

    servers_per_zone: int = Field(default=1, ge=1, le=MAX_SERVERS_PER_ZONE)
    tick_rate_hz: int = Field(default=20, ge=1, le=60)
    max_players_per_server: int = Field(default=2000, ge=1, le=20000)
    modes: dict[str, ModeSettings] = Field(
        default_factory=lambda: {
            "arena": ModeSettings(seats=10, duration_seconds=180),
            "sprint": ModeSettings(seats=10, duration_seconds=8),
            "probe": ModeSettings(seats=2, duration_seconds=2),
        },
        description="`probe` is what `mjctl health` plays; it must seat two and be short",
    )

    @model_validator(mode="after")
    def _probe_is_short(self) -> Game:
        probe = self.modes.get("probe")
        if probe is None or probe.seats < 2 or probe.duration_seconds > 10:
            raise ValueError("modes must hold `probe` with at least 2 seats and at most 10 seconds: health plays it")
        return self


class LocalSettings(Section):
    """Only for the target `local`."""

    ports: dict[str, Annotated[int, Field(ge=1024, le=65535)]] = Field(
        default_factory=dict,
        description="pins `<region>/<process>` to a port, e.g. us-east-1/api: 8080; every other port is chosen free. "
        "Processes: redis, postgres, aws, api, worker, game-<zone>-<number> and game-<zone>-<number>-ops",
    )
    tls: bool = Field(
        default=False,
        description="TLS on every hop, by a private authority of each region; connections in clear are refused then",
    )


class Drift(Section):
    """What `mjctl drift` overlooks."""

    ignore: tuple[str, ...] = Field(
        default=(),
        description="globs (* and ?) over resource addresses whose drift is expected, e.g. module.api.*",
    )


class Retention(Section):
    """How many backups `mjctl backup prune` keeps: the newest, and the newest of so many days, weeks and months."""

    last: int = Field(default=3, ge=0)
    daily: int = Field(default=7, ge=0)
    weekly: int = Field(default=5, ge=0)
    monthly: int = Field(default=12, ge=0)


class BackupSettings(Section):
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


class Region(Section):
    zones: tuple[ZoneName, ...] = Field(
        min_length=1, max_length=6, description="at least three on the targets aws and sandbox"
    )
    cidr: Cidr | None = Field(
        default=None, description="range of the VPC on AWS; by default 10.10.0.0/16, 10.20.0.0/16 and so on"
    )

    @model_validator(mode="after")
    def _zones_are_distinct(self) -> Region:
        if len(set(self.zones)) != len(self.zones):
            raise ValueError("zones must be distinct")
        return self


class Environment(Section):
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
    players_data: bool | None = Field(
        default=None,
        description="the environment stores data of real players, so that `destroy` and `cache flush` ask for its "
        "name and not only for `yes`; by default true for the target aws and false for the others",
    )
    aws: AwsSettings | None = Field(default=None, description="needed by the targets aws and sandbox")

    @property
    def account(self) -> AwsSettings:
        """The section `aws`, which every environment of target `aws` or `sandbox` has."""
        if self.aws is None:
            raise ValueError(f"environment {self.name} has no section `aws`")
        return self.aws

    @property
    def stores_players_data(self) -> bool:
        """Whether the environment stores data of real players: the file's `players_data`, else target aws does."""
        return self.target == "aws" if self.players_data is None else self.players_data

    @property
    def primary_region(self) -> str:
        """Where the database is written, and what exists once lies."""
        named = self.aws.primary_region if self.aws else None
        return named or next(iter(self.regions))

    @property
    def units(self) -> tuple[str, ...]:
        """All that has a state of its own: the regions and, on AWS, what exists once before and after them."""
        return tuple(self.regions) if self.target == "local" else (FOUNDATION, *self.regions, EDGE)

    def cidr(self, region: str) -> str:
        """Range of the region's VPC."""
        given = self.regions[region].cidr
        return given or f"10.{10 * (1 + list(self.regions).index(region))}.0.0/16"

    def backup_copy_region(self, region: str) -> str:
        """The other region that keeps copies of `region`'s backups: the next one, or the one that the file names."""
        named = self.account.backup.copy_region
        if named and named != region:
            return named
        names = list(self.regions)
        return names[(names.index(region) + 1) % len(names)]

    @model_validator(mode="after")
    def _has_an_account(self) -> Environment:
        if self.target == "local":
            return self
        if self.local.tls:
            raise ValueError("local.tls: the target local alone has this switch")
        if self.aws is None:
            raise ValueError(f"aws: target {self.target} needs it: account_id and domain at least")
        if self.primary_region not in self.regions:
            raise ValueError(f"aws.primary_region: {self.primary_region} is not among regions")
        writer = self.aws.database.writer_region
        if writer is not None and writer not in self.regions:
            raise ValueError(f"aws.database.writer_region: {writer} is not among regions")
        if len(f"{self.project}-{self.name}") > 22:
            raise ValueError("project and the file's name are too long together: 22 characters with the hyphen between")
        for region in self.regions:
            if self.backup_copy_region(region) == region:
                raise ValueError("aws.backup.copy_region: the only region needs another to copy its backups to")
        return self

    @model_validator(mode="after")
    def _ranges_are_apart(self) -> Environment:
        ranges = {region: ip_network(self.cidr(region)) for region in self.regions}
        for first, second in combinations(ranges, 2):
            if ranges[first].version == ranges[second].version and ranges[first].overlaps(ranges[second]):
                raise ValueError(f"regions.{second}.cidr: {ranges[second]} overlaps that of {first}, {ranges[first]}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Environment:
        for name, region in self.regions.items():
            for zone in region.zones:
                if not zone.startswith(name):
                    raise ValueError(f"regions.{name}.zones: {zone} is not a zone of {name}")
            if self.target != "local" and len(region.zones) < _ZONES_ON_AWS:
                raise ValueError(
                    f"regions.{name}.zones: the target {self.target} needs {_ZONES_ON_AWS} zones or more in each region"
                )
        return self

    @model_validator(mode="after")
    def _pins_are_usable(self) -> Environment:
        owners: dict[int, str] = {}
        for pin, port in self.local.ports.items():
            region, slash, process = pin.partition("/")
            if not slash or region not in self.regions:
                raise ValueError(f"local.ports.{pin}: expected <region>/<process> with one of this file's regions")
            if not self._is_process(region, process):
                raise ValueError(
                    f"local.ports.{pin}: {region} has no process `{process}`; it has "
                    f"{', '.join(LOCAL_PROCESSES)}, game-<zone>-<number> and game-<zone>-<number>-ops"
                )
            if port in owners:
                raise ValueError(f"local.ports.{pin}: port {port} is pinned for {owners[port]} too")
            owners[port] = pin
        return self

    def _is_process(self, region: str, process: str) -> bool:
        if process in LOCAL_PROCESSES:
            return True
        # `servers scale` may raise the number above the file's game.servers_per_zone.
        return process.removesuffix("-ops") in game_servers(self.regions[region].zones, MAX_SERVERS_PER_ZONE)
