"""The JSON documents of `mjctl servers` and `mjctl failover`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mjctl.cli.output.documents.envelope import Envelope, FailedRegionDocument, JsonDocument


class DrainedDocument(JsonDocument):
    """Describes a drain: who drained the server, when and why."""

    by: str = Field(description="the operator who drained the server: user@host, or the ARN of the caller on AWS")
    at: str = Field(description="the time of the drain, in ISO 8601")
    message: str | None = Field(description="the reason for the drain, from --message")


class ServerDocument(JsonDocument):
    """Describes a game server. A value is null if the server did not report it."""

    id: str
    zone: str
    state: str
    pid: int | None = Field(description="process id of a local server; null on AWS")
    players: int | None
    max_players: int | None
    matches: int | None
    uptime_seconds: float | None
    incidents: int = Field(description="number of unexpected ends of the server")
    last_incident: str | None = Field(description="the newest unexpected end, in one sentence")
    play_url: str = Field(description="address of the server's websocket")
    task: str | None = Field(description="the id of the ECS task on AWS; null for a local server")
    drained: DrainedDocument | None = Field(description="the drain of the server; null if the server is in service")


class RegionServersDocument(JsonDocument):
    """Describes the game servers of a region."""

    region: str
    servers: tuple[ServerDocument, ...]


class ServersDocument(Envelope):
    """Describes the output of `mjctl servers list`."""

    regions: tuple[RegionServersDocument | FailedRegionDocument, ...]


class ServerChangeDocument(JsonDocument):
    """Describes a game server that was drained or restarted."""

    id: str
    zone: str
    action: str
    matches: int = Field(description="number of matches that the server handed over")
    seconds: float = Field(description="duration of the drain or the restart in seconds")


class RegionServerChangesDocument(JsonDocument):
    """Describes the game servers of a region that were drained or restarted."""

    region: str
    servers: tuple[ServerChangeDocument, ...]


class ServerChangesDocument(Envelope):
    """Describes the output of `mjctl servers drain` and `mjctl servers restart`."""

    regions: tuple[RegionServerChangesDocument | FailedRegionDocument, ...]


class TrafficDocument(JsonDocument):
    """Describes how many matches and players a region has."""

    matches: int
    players: int


class StepDocument(JsonDocument):
    """Describes a step of a failover."""

    step: str
    outcome: Literal["planned", "unchanged", "done", "failed", "skipped"]
    summary: str


class CopyDocument(JsonDocument):
    """Describes a copy of the global database, in a region that does not write."""

    region: str
    in_sync: bool
    lag_ms: float | None = Field(description="lag behind the writer in milliseconds; null if it is not known")


class WriterDocument(JsonDocument):
    """Describes the move of the database's writer."""

    global_cluster: str
    from_: str | None = Field(
        alias="from", description="region of the database's writer before the move; null if there is no writer"
    )
    to: str = Field(description="region of the database's writer after the move")
    data_loss_allowed: bool = Field(description="true with --allow-data-loss")
    copies: tuple[CopyDocument, ...]


class DnsDocument(JsonDocument):
    """Describes how DNS treats a region."""

    region: str
    named: bool | None = Field(description="whether DNS answers players with the region; null if that is not known")
    excluded: bool = Field(description="true if an operator excluded the region")
    health_check: str | None = Field(description="id of the region's health check in Route 53")
    disabled: bool = Field(description="Route 53's flag `Disabled` of the health check")
    inverted: bool = Field(description="Route 53's flag `Inverted` of the health check")
    alarm: str | None = Field(
        description="state of the alarm that the health check follows; null if the state is unknown or has no effect"
    )
    summary: str


class ProbeDocument(JsonDocument):
    """Describes the result of a probe in a region."""

    region: str
    name: str
    status: Literal["pass", "warn", "fail", "skip"]
    summary: str


class LeftRegionDocument(JsonDocument):
    """Describes the failover of a region, or its end with --restore."""

    region: str = Field(description="the region that players leave or return to")
    action: Literal["none", "closed", "restored", "failed"]
    elsewhere: tuple[str, ...] = Field(description="the regions to which players of the region are sent")
    traffic: TrafficDocument | None = Field(
        description="matches and players of the region; null if the region did not answer"
    )
    steps: tuple[StepDocument, ...]
    writer: WriterDocument | None = Field(
        description="the move of the database's writer; null if the writer does not move"
    )
    note: str | None = Field(
        description="what to do after the database's writer has moved; null if the writer does not move"
    )
    dns: tuple[DnsDocument, ...] = Field(
        description="whether DNS answers with each region; empty on the target `local`, which has no DNS"
    )
    probes: tuple[ProbeDocument, ...] = Field(description="results of the probes after the failover")


class FailoverDocument(Envelope):
    """Describes the output of `mjctl failover`."""

    regions: tuple[LeftRegionDocument, ...]
