"""Finds the parts of a local region that are missing or changed since its last apply.

Terraform's built-in provider does not read whether a process or a file still exists, so mjctl compares every part of a
local region itself.
"""

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
"""Stands for a repair of the data plane that gives no resource a new id, so that no process has to be replaced."""
SCHEMA = "schema"
CERTIFICATES = "certificates"
SUPERVISOR = "supervisor"
WEB_CLIENT = "web-client"
PARTS = (SUPERVISOR, DATA_PLANE, DATA_PLANE_REPAIR, SCHEMA, WEB_CLIENT)
"""The parts of every region that are not processes."""

# Wait longer than the few seconds in which the supervisor restarts an emulator or a database that has ended.
_ANSWER_SECONDS = 15.0
_PAUSE_SECONDS = 0.25

_T = TypeVar("_T")


@dataclass(frozen=True)
class Observation:
    """Describes what a comparison of a local region with its last apply has shown.

    Attributes:
        missing: The parts that the next apply must create again.
        notes: Lines for the operator that explain why parts are missing, e.g. the differences of the data plane.
        failure: The reason why the data plane or the database could not be compared, or None if they could be
            compared.
    """

    missing: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    failure: MjctlError | None = None


def missing_parts(stack: Stack) -> frozenset[str]:
    """Return the parts of a local region that the last apply created and that are missing now.

    Certificates that expire soon count as missing. `missing_parts` reads only files and the state of the supervisor,
    and `observe` also reads the emulated AWS and the database.
    """
    if not stack.exists():
        return frozenset()
    variables = stack.applied_variables() or {}
    applied = variables.get("epochs", {})
    seen = inventory.observe(stack.folder)
    if not seen.supervisor_alive:
        return frozenset(applied) or frozenset({SUPERVISOR})
    drained = drains.marks(Layout(stack.folder).run)
    missing = {
        name
        for name in applied
        if name not in (*PARTS, CERTIFICATES) and not seen.exists(name) and not _is_drained(seen, name, drained)
    }
    if not seen.data_plane_present:
        missing.add(DATA_PLANE)
    web_dir = variables.get("web_dir")
    if web_dir is not None and Layout(stack.folder).web_client.resolve() != Path(web_dir).resolve():
        missing.add(WEB_CLIENT)
    if CERTIFICATES in applied and not _certificates_are_current(stack):
        missing.add(CERTIFICATES)
    return frozenset(missing)


def observe(stack: Stack) -> Observation:
    """Compare the processes, files, data plane and database schema of a local region with its last apply."""
    missing = set(missing_parts(stack))
    contract = _published(stack)
    if contract is None or SUPERVISOR in missing:
        return Observation(frozenset(missing))
    notes: list[str] = []
    failure: MjctlError | None = None
    if "aws" in missing:
        # The emulated AWS does not run, so let the next apply compare and repair the tables and queues of the data
        # plane.
        missing.add(DATA_PLANE_REPAIR)
    elif DATA_PLANE not in missing:
        try:
            differences = _answered(stack, "aws", lambda: _data_plane_differences(stack, contract))
            missing.update(_parts_to_repair(differences))
            notes += map(str, differences)
        except MjctlError as error:
            failure = error
    if "postgres" not in missing:
        try:
            if not _answered(stack, "postgres", lambda: _has_schema(contract)):
                missing.add(SCHEMA)
                notes.append(
                    "the database has no schema: a deploy creates the tables again, without rows; "
                    "`mjctl backup restore` restores the rows"
                )
        except MjctlError as error:
            failure = failure or error
    return Observation(frozenset(missing), tuple(notes), failure)


def ended_drains(stack: Stack, changes: Collection[Change]) -> tuple[str, ...]:
    """Return a note for each drained server of a local region that an apply of `changes` starts again."""
    if stack.remote is not None:
        return ()
    starting = {change.address for change in changes if change.action in ("create", "update", "replace")}
    return tuple(
        f"{name} was {drained}; a deploy brings it back into service"
        for name, drained in drains.marks(Layout(stack.folder).run).items()
        if any(f'["{name}"]' in address for address in starting)
    )


def _is_drained(seen: inventory.Inventory, name: str, drained: Collection[str]) -> bool:
    """Return True if an operator has drained and stopped the server `name`, so the server does not count as missing."""
    process = seen.process(name)
    return name in drained and process is not None and process.state == "STOPPED"


def repairable(missing: Collection[str], names: Collection[str]) -> frozenset[str]:
    """Return `missing`, and also the whole data plane if the region's Terraform code is too old to repair a part of it.

    Args:
        missing: The missing parts of the region.
        names: The parts for which the region's Terraform code has an epoch.
    """
    known = set(missing)
    if DATA_PLANE_REPAIR in known and DATA_PLANE_REPAIR not in names:
        # Terraform code of an earlier version of mjctl cannot repair single parts of the data plane, so mark the whole
        # data plane as missing.
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
    """Return the contract of the region of `stack`.

    Returns:
        None if no deploy of the region was ever completed, or if this version of mjctl cannot read the contract.
    """
    if not stack.exists():
        return None
    try:
        return Contract.parse(stack.outputs().get("contract"))
    except ConfigError:
        return None


def _answered(stack: Stack, process: str, read: Callable[[], _T]) -> _T:
    """Wait until the process named `process` answers, then call `read` and return the result of `read`.

    Raises:
        UnreachableError: The process does not answer within 15 seconds.
    """
    from mjctl.local.probe import probe
    from mjctl.local.spec import recorded

    layout = Layout(stack.folder)
    spec = recorded(layout, process)
    reason: str | None = "the process was never started"
    deadline = time.monotonic() + _ANSWER_SECONDS
    while spec is not None:
        reason = probe(spec.live, 2.0, layout.tls_authority)
        if reason is None:
            return read()
        if time.monotonic() > deadline:
            break
        time.sleep(_PAUSE_SECONDS)
    raise UnreachableError(
        f"{process} does not answer, so its content was not compared with the last deploy: {reason}",
        where=stack.where,
        hint=f"repeat the command in a minute, because the watchdog restarts {process}; the log of {process}: "
        f"{layout.log(process)}",
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
        # An emulated AWS that an earlier version of mjctl has started has no key file and accepts any access key.
        key=read_aws_key(layout.aws_key) or AwsKey("any", "any"),
        ca_file=contract.ca_file,
        published=read_json(layout.data_plane),
    )
    try:
        return differences(spec)
    except (BotoCoreError, ClientError) as error:
        raise UnreachableError(
            f"a request to the emulated AWS failed, so the data plane was not compared with the last deploy: {error}",
            where=f"{stack.where}, {spec.endpoint}",
            hint=f"the log of the emulated AWS says why the request failed: {layout.log('aws')}",
        ) from error


def _has_schema(contract: Contract) -> bool:
    """Return True if the database still has the table `alembic_version`, which the migrations create."""

    async def table_exists() -> bool:
        from mjctl.clients.boto import RegionClients
        from mjctl.clients.stores import database

        with RegionClients(contract) as clients:
            async with database(contract, clients) as connection:
                return await connection.fetchval("select to_regclass('public.alembic_version')") is not None

    # The caller may be inside an event loop, where asyncio.run is not allowed, so run the query in another thread.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(table_exists())).result()
