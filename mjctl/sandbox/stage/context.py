"""Defines the context that all parts of a stage share. A part gets a `StageContext`, and imports no other part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mjctl.sandbox.stage.addresses import Addresses
from mjctl.sandbox.stage.authority import Authority
from mjctl.sandbox.stage.containers import ContainerEngine
from mjctl.sandbox.stage.target_table import TargetTable
from mjctl.sandbox.stage.traffic_counts import TrafficCounts


class TargetState:
    """Lets the ECS tasks ask for the health that the load balancers see, which another part of the stage decides."""

    def __init__(self) -> None:
        self._ask: Callable[[str], str] = lambda _address: "unused"

    def set(self, ask: Callable[[str], str]) -> None:
        """Use `ask`, which returns the state of an address, from now on."""
        self._ask = ask

    def __call__(self, address: str) -> str:
        """Return `healthy`, `initial`, `unhealthy` or `draining`, or `unused` for an address in no target group."""
        return self._ask(address)


@dataclass(frozen=True)
class StageContext:
    """Holds what the parts of a stage share.

    Attributes:
        folder: The private folder of the stage's files, which survives a restart of the sandbox.
        account_id: The emulated AWS account, twelve digits.
        gateway: The address of ministack without TLS, `http://127.0.0.1:PORT`, for the stage's own processes.
        moto: The address of moto, which has the records of ECR, WAF, CloudWatch and Application Auto Scaling; None
            without moto.
        access_key_id: The access key id that requests to `gateway` and `moto` must name (mjctl.local.guard).
        releases: The folder with the game code of each release, by digest (mjctl.deploy.releases.store).
        addresses: The source of loopback addresses.
        authority: The certificate authority.
        engine: The containers.
        names: Functions that return names of the stage and their addresses. The stage publishes all of them.
        target_state: Returns the state of an address as the load balancers see it.
        targets: The health of each target of the load balancers.
        traffic: The counts of the load balancers and their firewalls.
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


class StagePart(Protocol):
    """Adds one kind of processes to the stage."""

    def install(self) -> None:
        """Change ministack in this process. Called once, after the import of ministack and before it serves."""

    def look(self) -> None:
        """Compare the processes with ministack's records, and correct them. Called twice a second in one thread."""

    def close(self) -> None:
        """End what the part started. Called before the containers end and before ministack saves its state."""
