"""What has changed in a local region since its last apply. Terraform's built-in provider cannot look, so mjctl does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mjctl.files import read_json
from mjctl.local import drains, inventory
from mjctl.local.layout import Layout
from mjctl.models.contract import Contract
from mjctl.models.deployment import Change
from mjctl.models.errors import ConfigError, MjctlError, UnreachableError
from mjctl.terraform.stack import Stack

if TYPE_CHECKING:
    from mjctl.local.data_plane import Difference

DATA_PLANE = "data-plane"
DATA_PLANE_REPAIR = "data-plane-repair"
"""As DATA_PLANE, for repairs that give nothing a new id: no process has to be replaced."""
SCHEMA = "schema"
CERTIFICATES = "certificates"
SUPERVISOR = "supervisor"
WEB_CLIENT = "web-client"
PARTS = (SUPERVISOR, DATA_PLANE, DATA_PLANE_REPAIR, SCHEMA, WEB_CLIENT)
"""What is not a process, and exists in every region."""

# The supervisor brings back an emulator or a database that ended within a few seconds.
_ANSWER_SECONDS = 15.0
_PAUSE_SECONDS = 0.25

_T = TypeVar("_T")


@dataclass(frozen=True)
class Observation:
    """`gone`: the parts to be made again. `notes`: one line for people on each that needs explaining.

    `unseen`: why a part could not be compared; None when all were.
    """

    gone: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    unseen: MjctlError | None = None


def missing_parts(stack: Stack) -> frozenset[str]:
    """The parts that the last apply left and that are missing now, and certificates near their end.

    This asks the supervisor and looks at files. `observe` also looks into the data stores.
    """
    if not stack.exists():
        return frozenset()
    variables = stack.applied_variables() or {}
    applied = variables.get("epochs", {})
    seen = inventory.observe(stack.folder)
    if not seen.supervisor_alive:
        return frozenset(applied) or frozenset({SUPERVISOR})
    drained = drains.marks(Layout(stack.folder).run)
    gone = {
        name
        for name in applied
        if name not in (*PARTS, CERTIFICATES) and not seen.exists(name) and not _is_drained(seen, name, drained)
    }
    if not seen.data_plane_present:
        gone.add(DATA_PLANE)
    web_dir = variables.get("web_dir")
    if web_dir is not None and Layout(stack.folder).web_client.resolve() != Path(web_dir).resolve():
        gone.add(WEB_CLIENT)
    if CERTIFICATES in applied and not _certificates_are_current(stack):
        gone.add(CERTIFICATES)
    return frozenset(gone)


def observe(stack: Stack) -> Observation:
    """Compare the region with what its last apply left: processes, data plane and database schema."""
    gone = set(missing_parts(stack))
    contract = _published(stack)
    if contract is None or SUPERVISOR in gone:
        return Observation(frozenset(gone))
    notes: list[str] = []
    unseen: MjctlError | None = None
    if "aws" in gone:
        # What it has lost is seen once it runs again; the repair then compares everything.
        gone.add(DATA_PLANE_REPAIR)
    elif DATA_PLANE not in gone:
        try:
            differences = _answered(stack, "aws", lambda: _data_plane_differences(stack, contract))
            gone.update(_parts_to_repair(differences))
            notes += map(str, differences)
        except MjctlError as error:
            unseen = error
    if "postgres" not in gone:
        try:
            if not _answered(stack, "postgres", lambda: _has_schema(contract)):
                gone.add(SCHEMA)
                notes.append(
                    "the database has no schema: a deploy makes it again, empty; `mjctl backup restore` fills it"
                )
        except MjctlError as error:
            unseen = unseen or error
    return Observation(frozenset(gone), tuple(notes), unseen)


def ended_drains(stack: Stack, changes: Collection[Change]) -> tuple[str, ...]:
    """Return a note for each drained server of a local region that `changes` bring back into service."""
    if stack.remote is not None:
        return ()
    starting = {change.address for change in changes if change.action in ("create", "update", "replace")}
    return tuple(
        f"{name} was {drained}; a deploy brings it back into service"
        for name, drained in drains.marks(Layout(stack.folder).run).items()
        if any(f'["{name}"]' in address for address in starting)
    )


def _is_drained(seen: inventory.Inventory, name: str, drained: Collection[str]) -> bool:
    """Tell whether an operator has stopped the server. Its stop is then neither drift nor damage."""
    process = seen.process(name)
    return name in drained and process is not None and process.state == "STOPPED"


def repairable(gone: Collection[str], names: Collection[str]) -> frozenset[str]:
    """Return `gone`, in terms of the parts that the region's Terraform code knows (`names`)."""
    known = set(gone)
    if DATA_PLANE_REPAIR in known and DATA_PLANE_REPAIR not in names:
        # A region that an earlier version of mjctl has deployed.
        known.add(DATA_PLANE)
    return frozenset(known)


def _parts_to_repair(differences: Collection[Difference]) -> Iterator[str]:
    if any(item.new_id for item in differences):
        yield DATA_PLANE
    elif differences:
        yield DATA_PLANE_REPAIR


def _certificates_are_current(stack: Stack) -> bool:
    from mjctl.local.certificates import is_current

    return is_current(Layout(stack.folder))


def _published(stack: Stack) -> Contract | None:
    """The region's contract; None for a region that was never wholly deployed, or by another version of mjctl."""
    if not stack.exists():
        return None
    try:
        return Contract.parse(stack.outputs().get("contract"))
    except ConfigError:
        return None


def _answered(stack: Stack, process: str, look: Callable[[], _T]) -> _T:
    """Look, once the process answers.

    Raises:
        UnreachableError: it does not answer in time, or breaks off.
    """
    from mjctl.local.probe import probe
    from mjctl.local.spec import recorded

    layout = Layout(stack.folder)
    spec = recorded(layout, process)
    reason: str | None = "it was never started"
    deadline = time.monotonic() + _ANSWER_SECONDS
    while spec is not None:
        reason = probe(spec.live, 2.0, layout.tls_authority)
        if reason is None:
            return look()
        if time.monotonic() > deadline:
            break
        time.sleep(_PAUSE_SECONDS)
    raise UnreachableError(
        f"{process} does not answer, so what it holds was not compared: {reason}",
        where=stack.where,
        hint=f"the watchdog restarts it within a minute: repeat the command then; its log: {layout.log(process)}",
    )


def _data_plane_differences(stack: Stack, contract: Contract) -> tuple[Difference, ...]:
    from botocore.exceptions import BotoCoreError, ClientError

    from mjctl.local.credentials import AwsKey, read_aws_key
    from mjctl.local.data_plane import DataPlaneSpec, differences

    layout = Layout(stack.folder)
    spec = DataPlaneSpec(
        definition=stack.source_dir.parents[1] / "modules" / "data_plane" / "data-plane.yaml",
        prefix=f"{contract.project}-{contract.environment}",
        endpoint=str(contract.aws.endpoint_url),
        region=contract.region,
        # An emulated AWS that an earlier version started takes any key.
        key=read_aws_key(layout.aws_key) or AwsKey("any", "any"),
        ca_file=contract.ca_file,
        published=read_json(layout.data_plane),
    )
    try:
        return differences(spec)
    except (BotoCoreError, ClientError) as error:
        raise UnreachableError(
            f"the emulated AWS broke off, so the data plane was not compared: {error}",
            where=f"{stack.where}, {spec.endpoint}",
            hint=f"its log says why: {layout.log('aws')}",
        ) from error


def _has_schema(contract: Contract) -> bool:
    """Tell whether the database was migrated and still has what the migrations record."""

    async def look() -> bool:
        from mjctl.clients.boto import RegionClients
        from mjctl.clients.stores import database

        with RegionClients(contract) as clients:
            async with database(contract, clients) as connection:
                return await connection.fetchval("select to_regclass('public.alembic_version')") is not None

    # The caller may be inside an event loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(look())).result()
