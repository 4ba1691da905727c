"""The documents of `mjctl servers` and `mjctl failover`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mjctl.cli.output.documents.envelope import Envelope, FailedRegionDocument, JsonDocument


class DrainedDocument(JsonDocument):
    by: str
    at: str
    message: str | None


class ServerDocument(JsonDocument):
    id: str
    zone: str
    state: str
    pid: int | None
    players: int | None
    max_players: int | None
    matches: int | None
    uptime_seconds: float | None
    incidents: int
    last_incident: str | None
    play_url: str
    task: str | None = Field(description="the id of the ECS task, on AWS")
    drained: DrainedDocument | None


class RegionServersDocument(JsonDocument):
    region: str
    servers: tuple[ServerDocument, ...]


class ServersDocument(Envelope):
    """servers list."""

    regions: tuple[RegionServersDocument | FailedRegionDocument, ...]


class ServerChangeDocument(JsonDocument):
    id: str
    zone: str
    action: str
    matches: int = Field(description="matches that the server handed over")
    seconds: float = Field(description="how long the server was out of service")


class RegionServerChangesDocument(JsonDocument):
    region: str
    servers: tuple[ServerChangeDocument, ...]


class ServerChangesDocument(Envelope):
    """servers drain, servers restart."""

    regions: tuple[RegionServerChangesDocument | FailedRegionDocument, ...]


class TrafficDocument(JsonDocument):
    matches: int
    players: int


class StepDocument(JsonDocument):
    step: str
    outcome: Literal["planned", "unchanged", "done", "failed", "skipped"]
    summary: str


class CopyDocument(JsonDocument):
    region: str
    in_sync: bool
    lag_ms: float | None


class WriterDocument(JsonDocument):
    global_cluster: str
    from_: str | None = Field(alias="from")
    to: str
    data_loss_allowed: bool
    copies: tuple[CopyDocument, ...]


class DnsDocument(JsonDocument):
    region: str
    named: bool | None
    excluded: bool
    health_check: str | None
    disabled: bool
    inverted: bool
    alarm: str | None
    summary: str


class ProbeDocument(JsonDocument):
    region: str
    name: str
    status: Literal["pass", "warn", "fail", "skip"]
    summary: str


class LeftRegionDocument(JsonDocument):
    region: str = Field(description="the region that players leave, or come back to")
    action: Literal["none", "closed", "restored", "failed"]
    elsewhere: tuple[str, ...]
    traffic: TrafficDocument | None = Field(description="null when the region did not answer")
    steps: tuple[StepDocument, ...]
    writer: WriterDocument | None
    note: str | None
    dns: tuple[DnsDocument, ...]
    probes: tuple[ProbeDocument, ...]


class FailoverDocument(Envelope):
    """failover."""

    regions: tuple[LeftRegionDocument, ...]
