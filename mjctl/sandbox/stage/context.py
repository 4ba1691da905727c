"""Defines `StagePart`, a part of a stage, and `StageContext`, the objects that all parts of a stage share.

A part runs one kind of processes, e.g. the nodes of ElastiCache. A part gets a `StageContext`, and imports no other
part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mjctl.sandbox.stage.addresses import Addresses
from mjctl.sandbox.stage.authority import Authority
from mjctl.sandbox.stage.containers import ContainerEngine
from mjctl.sandbox.stage.metric_book import MetricBook
from mjctl.sandbox.stage.target_table import TargetTable
from mjctl.sandbox.stage.traffic_counts import TrafficCounts


class TargetState:
    """Returns the health of a target to the part of the stage that runs ECS tasks.

    The part that runs the load balancers decides on the health of a target, and calls `set`.
    """

    def __init__(self) -> None:
        self._ask: Callable[[str], str] = lambda _address: "unused"

    def set(self, ask: Callable[[str], str]) -> None:
        """Set the function that returns the health of the target at an address."""
        self._ask = ask

    def __call__(self, address: str) -> str:
        """Return the health of the target at an address: `healthy`, `initial`, `unhealthy`, `draining`, or `unused`.

        An address that belongs to no target group is `unused`.
        """
        return self._ask(address)


@dataclass(frozen=True)
class StageContext:
    """Holds the objects that the parts of a stage share.

    Attributes:
        folder: The private folder of the stage's files, which survives a restart of the sandbox.
        account_id: The emulated AWS account, twelve digits.
        gateway: The address of ministack without TLS, `http://127.0.0.1:PORT`, for the stage's own processes.
        moto: The address of moto, which emulates ECR, WAF, CloudWatch and Application Auto Scaling; None if moto does
            not run.
        access_key_id: The id of the access key with which requests to `gateway` and `moto` must be signed
            (mjctl.local.guard).
        releases: The folder with the game code of each release, by digest (mjctl.deploy.releases.store).
        addresses: Assigns loopback addresses to containers and load balancers.
        authority: The certificate authority of the stage.
        engine: Runs the containers of the stage.
        names: Functions of the parts that return host names with their addresses. The stage publishes all names that
            the functions return.
        target_state: Returns the health of the load balancers' target at an address.
        targets: The health of each target of the load balancers.
        traffic: The counts of requests by the load balancers and by their firewalls.
        metrics: The values for CloudWatch's metrics. The stage publishes them each minute.
        measures: Functions of the parts that record values in `metrics`. The stage calls each function once a minute.
    """

    folder: Path
    account_id: str
    gateway: str
    moto: str | None
    access_key_id: str
    releases: Path
    addresses: Addresses
    authority: Authority
    engine: ContainerEngine
    names: list[Callable[[], dict[str, str]]] = field(default_factory=list)
    target_state: TargetState = field(default_factory=TargetState)
    targets: TargetTable = field(default_factory=TargetTable)
    traffic: TrafficCounts = field(default_factory=TrafficCounts)
    metrics: MetricBook = field(default_factory=MetricBook)
    measures: list[Callable[[], None]] = field(default_factory=list)


class StagePart(Protocol):
    """Defines a part of the stage, which runs one kind of processes."""

    def install(self) -> None:
        """Correct ministack in this process. The stage calls `install` once, before ministack serves requests."""

    def look(self) -> None:
        """Start and stop processes as ministack's records describe. One thread calls `look` twice a second."""

    def close(self) -> None:
        """End the part's threads and processes. The stage calls `close` before ministack saves its state."""
