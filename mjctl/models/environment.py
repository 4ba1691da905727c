"""The model of an environment: the content of `configs/<name>.yaml`, validated and immutable."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, ip_network
from itertools import combinations
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mjctl.models.aws_settings import AwsSettings, RegionName
from mjctl.models.section import Section, text_like

# Names of projects and environments are short, because AWS allows 32 characters in the name of a target group, which
# begins with `<project>-<environment>`.
ShortName = Annotated[
    str,
    text_like(
        r"^[a-z][a-z0-9-]{0,14}[a-z0-9]$",
        "2 to 16 characters a-z, digits and hyphens, which begin with a-z and do not end with a hyphen",
    ),
]
ZoneName = Annotated[str, text_like(r"^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$", "the name of a zone, e.g. eu-west-1a")]


# The names of the two units that exist once in an environment of target `aws` or `sandbox`; every other unit is a
# region.
FOUNDATION = "foundation"
EDGE = "edge"

# The names of the processes that each region of the target `local` has in addition to its game servers.
LOCAL_PROCESSES = ("redis", "cache", "postgres", "aws", "api", "worker")
MAX_SERVERS_PER_ZONE = 50
# The production stacks spread every part over three zones, so that a majority remains when a zone fails.
_ZONES_ON_AWS = 3


def game_servers(zones: Sequence[str], servers_per_zone: int) -> dict[str, str]:
    """Return the zone of each game server of a local region, by the server's name.

    The name of a game server identifies its process, ports and Terraform address. Terraform replaces a server whose
    name changes.
    """
    return {f"game-{zone}-{number}": zone for zone in zones for number in range(1, servers_per_zone + 1)}


def _range_of_a_vpc(text: str) -> str:
    network = IPv4Network(text)
    if not 16 <= network.prefixlen <= 20:
        raise ValueError(f"{text}: the range of a VPC must be from /16 to /20, to have room for three zones")
    return str(network)


Cidr = Annotated[str, AfterValidator(_range_of_a_vpc)]


class ModeSettings(Section):
    """Describes one mode, that is, one kind of match."""

    seats: int = Field(ge=1, le=100, description="The largest number of players in one match of the mode.")
    duration_seconds: float = Field(
        ge=1,
        le=3600,
        description="The length of a match of the mode in seconds. A game server ends a match after "
        "`duration_seconds`.",
    )
    rules: str = Field(
        default="arena",
        description="The rules module of the mode: the name of a module in `gameserver/rules/`, or the dotted path of "
        "another module. Each release contains a copy of the rules module's package.",
    )


class Game(Section):
    """Describes the game servers of each region."""

    servers_per_zone: int = Field(
        default=1,
        ge=1,
        le=MAX_SERVERS_PER_ZONE,
        description="The number of game servers in each zone. On AWS `servers_per_zone` is the smallest number, and "
        "`aws.task.max_tasks_per_zone` is the largest. `mjctl servers scale` overrides `servers_per_zone` until "
        "`mjctl servers scale --reset`.",
    )
    tick_rate_hz: int = Field(
        default=20, ge=1, le=60, description="The number of ticks in a second. Each tick sends a frame to every player."
    )
    max_players_per_server: int = Field(
        default=2000,
        ge=1,
        le=20000,
        description="The largest number of players on one game server. A full server refuses further players.",
    )
    modes: dict[str, ModeSettings] = Field(
        default_factory=lambda: {
            "arena": ModeSettings(seats=10, duration_seconds=180),
            "sprint": ModeSettings(seats=10, duration_seconds=8),
            "probe": ModeSettings(seats=2, duration_seconds=2),
        },
        description="The modes that players can choose, by name. The mode `probe` is required, because `mjctl health` "
        "plays a match of this mode. The mode `probe` needs at least 2 seats and takes at most 10 seconds.",
    )

    @model_validator(mode="after")
    def _probe_is_short(self) -> Game:
        probe = self.modes.get("probe")
        if probe is None or probe.seats < 2 or probe.duration_seconds > 10:
            raise ValueError(
                "the mode `probe`, of which `mjctl health` plays a match, is missing, has fewer than 2 seats or takes "
                "longer than 10 seconds. Write `probe: {seats: 2, duration_seconds: 2}`"
            )
        return self


class LocalSettings(Section):
    """Describes what only an environment of target `local` can choose."""

    ports: dict[str, Annotated[int, Field(ge=1024, le=65535)]] = Field(
        default_factory=dict,
        description="Fixed TCP ports, by `<region>/<process>`, e.g. `us-east-1/api: 8080`. mjctl chooses a free port "
        "for every process without a fixed port. The processes are redis, cache, postgres, aws, api, worker, "
        "game-<zone>-<number> and game-<zone>-<number>-ops.",
    )
    tls: bool = Field(
        default=False,
        description="Encrypt every connection of a region with TLS. If `tls` is true, each region has its own private "
        "certificate authority, and the region's processes refuse unencrypted connections.",
    )


class Drift(Section):
    """Describes the drift that `mjctl drift` does not report as a problem."""

    ignore: tuple[str, ...] = Field(
        default=(),
        description="Patterns of resource addresses whose drift is expected, e.g. `module.api.*`. In a pattern, `*` "
        "stands for any text and `?` for one character.",
    )


class Retention(Section):
    """Describes which backups `mjctl backup prune` keeps.

    `prune` removes a backup that none of the numbers `last`, `daily`, `weekly` and `monthly` requires.
    """

    last: int = Field(default=3, ge=0, description="The number of newest backups to keep.")
    daily: int = Field(
        default=7,
        ge=0,
        description="The number of days (UTC) for which the newest backup of the day is kept. `mjctl backup prune` "
        "counts only days, weeks and months that have a backup.",
    )
    weekly: int = Field(
        default=5, ge=0, description="The number of ISO weeks (UTC) for which the newest backup of the week is kept."
    )
    monthly: int = Field(
        default=12, ge=0, description="The number of months (UTC) for which the newest backup of the month is kept."
    )


class BackupSettings(Section):
    """Describes the place, the content and the retention of portable backups."""

    store: str | None = Field(
        default=None,
        description="The place of the portable backups: `s3://BUCKET/PREFIX` or a folder. By default, a region's "
        "portable backups are in the bucket or the folder that the region's stack created.",
    )
    recovery_point_seconds: int = Field(
        default=86_400,
        ge=60,
        description="The age in seconds that the newest backup should not exceed, because a loss of the region loses "
        "all data that is newer than the backup. `mjctl health` warns if the newest backup is older than "
        "`recovery_point_seconds`, and fails if the backup is more than twice as old. In a local region, `mjctl "
        "health` only warns of an old backup.",
    )
    cache_namespaces: tuple[str, ...] = Field(
        default=("*", "!leaderboard", "!profile"),
        description="Patterns (`*` and `?`) of the cache's namespaces that a backup contains. A pattern with `!` in "
        "front excludes namespaces. If several patterns match a namespace, the last matching pattern decides whether a "
        "backup contains the namespace. By default, backups do not contain the leaderboard and the profiles, which the "
        "servers compute again from the database.",
    )
    keep: Retention = Field(default=Retention(), description="The backups that `mjctl backup prune` keeps.")


class Region(Section):
    """Describes a region of the environment."""

    zones: tuple[ZoneName, ...] = Field(
        min_length=1,
        max_length=6,
        description="The availability zones in which the region runs. The targets aws and sandbox need at least "
        "three zones.",
    )
    cidr: Cidr | None = Field(
        default=None,
        description="The range of addresses of the region's VPC, from /16 to /20. The ranges of addresses of two "
        "regions must not overlap. By default the first region has the range 10.10.0.0/16, the second region "
        "10.20.0.0/16, and so on. The target local ignores `cidr`.",
    )

    @model_validator(mode="after")
    def _zones_are_distinct(self) -> Region:
        if len(set(self.zones)) != len(self.zones):
            raise ValueError("a zone is listed twice: list each zone of the region once")
        return self


class Environment(Section):
    """Describes an environment. `name` comes from the name of the file and must not be written inside of the file."""

    name: ShortName = Field(description="The name of the environment: the file's name without `.yaml`.")
    project: ShortName = Field(
        description="The name of the project, the first part of the name of each resource. The name has 2 to 16 "
        "lower-case characters a-z, digits and hyphens. On the targets aws and sandbox, `<project>-<environment>` "
        "may have 22 characters at most."
    )
    target: Literal["local", "sandbox", "aws"] = Field(
        description="Where the environment runs: `local` as processes on this machine, `sandbox` on an emulated AWS "
        "on this machine, `aws` in an AWS account."
    )
    regions: dict[RegionName, Region] = Field(
        min_length=1,
        description="The regions by their AWS names, e.g. `eu-west-1`. The first region is the primary region, unless "
        "`aws.primary_region` names another region.",
    )
    concurrency: int = Field(
        default=4, ge=1, le=32, description="The number of regions on which a command works at the same time."
    )
    game: Game = Field(default=Game(), description="The game servers of each region and the modes of play.")
    backup: BackupSettings = Field(default=BackupSettings(), description="The portable backups (`mjctl backup`).")
    local: LocalSettings = Field(default=LocalSettings(), description="Settings that only the target local has.")
    drift: Drift = Field(default=Drift(), description="The drift that `mjctl drift` expects.")
    players_data: bool | None = Field(
        default=None,
        description="Whether the environment stores data of real players. If `players_data` is true, `destroy` and "
        "`cache flush` ask for the environment's name instead of `yes`. The default of `players_data` is true for "
        "the target aws and false for the other targets.",
    )
    aws: AwsSettings | None = Field(
        default=None,
        description="The AWS account and the sizes of its resources. The targets aws and sandbox require the section "
        "`aws`.",
    )

    @property
    def account(self) -> AwsSettings:
        """Return the section `aws`, which every environment of target `aws` or `sandbox` has.

        Raises:
            ValueError: the environment has no section `aws`.
        """
        if self.aws is None:
            raise ValueError(f"environment {self.name} has no section `aws`")
        return self.aws

    @property
    def stores_players_data(self) -> bool:
        """Return whether the environment stores data of real players, with the default of `players_data` applied."""
        return self.target == "aws" if self.players_data is None else self.players_data

    @property
    def primary_region(self) -> str:
        """Return the primary region: `aws.primary_region` or the first region of the file.

        The primary region contains the foundation, and the database's writer unless a failover moved the writer.
        """
        named = self.aws.primary_region if self.aws else None
        return named or next(iter(self.regions))

    @property
    def units(self) -> tuple[str, ...]:
        """Return the names of all units in the order of a deploy.

        A deploy applies the foundation, then the regions, then the edge. An environment of target `local` has regions
        only.
        """
        return tuple(self.regions) if self.target == "local" else (FOUNDATION, *self.regions, EDGE)

    def cidr(self, region: str) -> str:
        """Return the range of addresses of the region's VPC, e.g. `10.10.0.0/16`."""
        given = self.regions[region].cidr
        return given or f"10.{10 * (1 + list(self.regions).index(region))}.0.0/16"

    def backup_copy_region(self, region: str) -> str:
        """Return the region that keeps the copies of `region`'s managed backups.

        The copies are in `aws.backup.copy_region` if the file names a region other than `region`, else in the
        environment's next region. If an environment has one region and no `aws.backup.copy_region`, the result is
        `region` itself.
        """
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
            raise ValueError(f"local.tls: only target local has this setting; remove it for target {self.target}")
        if self.aws is None:
            raise ValueError(f"aws: target {self.target} needs this section, with account_id and domain at least")
        if self.primary_region not in self.regions:
            raise ValueError(
                f"aws.primary_region: {self.primary_region} is not a region of this file; choose one of "
                f"{', '.join(self.regions)}"
            )
        writer = self.aws.database.writer_region
        if writer is not None and writer not in self.regions:
            raise ValueError(
                f"aws.database.writer_region: {writer} is not a region of this file; choose one of "
                f"{', '.join(self.regions)}"
            )
        if len(f"{self.project}-{self.name}") > 22:
            raise ValueError(
                f"project: `{self.project}-{self.name}`, the project's and the file's name, may have 22 characters "
                f"and has {len(self.project) + 1 + len(self.name)}; shorten one of the two names"
            )
        for region in self.regions:
            if self.backup_copy_region(region) == region:
                raise ValueError(
                    f"aws.backup.copy_region: backups of {region}, the only region, are copied to another AWS region; "
                    "set copy_region to that region"
                )
        return self

    @model_validator(mode="after")
    def _ranges_are_apart(self) -> Environment:
        ranges = {region: ip_network(self.cidr(region)) for region in self.regions}
        for first, second in combinations(ranges, 2):
            if ranges[first].version == ranges[second].version and ranges[first].overlaps(ranges[second]):
                raise ValueError(
                    f"regions.{second}.cidr: {ranges[second]} overlaps {ranges[first]}, the range of {first}; choose "
                    "another range"
                )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Environment:
        for name, region in self.regions.items():
            for zone in region.zones:
                if not zone.startswith(name):
                    raise ValueError(
                        f"regions.{name}.zones: {zone} is not a zone of {name}; the names of its zones are {name}a, "
                        f"{name}b and so on"
                    )
            if self.target != "local" and len(region.zones) < _ZONES_ON_AWS:
                raise ValueError(
                    f"regions.{name}.zones: target {self.target} needs at least {_ZONES_ON_AWS} zones in each region, "
                    f"and this region has {len(region.zones)}"
                )
        return self

    @model_validator(mode="after")
    def _pins_are_usable(self) -> Environment:
        owners: dict[int, str] = {}
        for pin, port in self.local.ports.items():
            region, slash, process = pin.partition("/")
            if not slash or region not in self.regions:
                raise ValueError(
                    f"local.ports.{pin}: write <region>/<process>, e.g. {next(iter(self.regions))}/api, with a region "
                    f"of "
                    "this file"
                )
            if not self._is_process(region, process):
                raise ValueError(
                    f"local.ports.{pin}: {region} has no process `{process}`; its processes are "
                    f"{', '.join(LOCAL_PROCESSES)}, game-<zone>-<number> and game-<zone>-<number>-ops"
                )
            if port in owners:
                raise ValueError(f"local.ports.{pin}: {owners[port]} has port {port} too; choose another port")
            owners[port] = pin
        return self

    def _is_process(self, region: str, process: str) -> bool:
        if process in LOCAL_PROCESSES:
            return True
        # A server may have a number above game.servers_per_zone, because `mjctl servers scale` can add servers.
        return process.removesuffix("-ops") in game_servers(self.regions[region].zones, MAX_SERVERS_PER_ZONE)
