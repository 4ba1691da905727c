"""`mjctl failover`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mjctl.cli.options import EnvOption, OutputOption, YesOption
from mjctl.cli.output.failover import Step, WriterMove, emit
from mjctl.cli.session import Exit, OutputFormat, chosen_regions
from mjctl.models.errors import Interrupted, MjctlError, NotFoundError, UnreachableError, UsageError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.cli.target import Target
    from mjctl.clients.dns import RegionDns
    from mjctl.fleet.failover import Traffic
    from mjctl.fleet.failover_writer import GlobalDatabase
    from mjctl.models.check import CheckResult
    from mjctl.models.contract import Contract


def failover(
    region: Annotated[str, typer.Option("--region", "-r", metavar="REGION", help="The region to leave.")],
    env: EnvOption = "local",
    restore: Annotated[bool, typer.Option("--restore", help="Let the region take matches again.")] = False,
    to_region: Annotated[
        str | None,
        typer.Option(
            "--to-region",
            metavar="REGION",
            help="Where the database's writer goes; else the copy least behind.",
        ),
    ] = None,
    allow_data_loss: Annotated[
        bool,
        typer.Option(
            "--allow-data-loss",
            help="The region is gone: its writer is replaced, and rows not yet copied are lost.",
        ),
    ] = False,
    with_writer: Annotated[
        bool,
        typer.Option("--with-writer", help="With --restore: move the writer back first."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Probe the other regions, and move nobody.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="Seconds to wait for running matches to end.")
    ] = 0,
    yes: YesOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Send the players of a region to others; --restore undoes it.

    Before that, a log-in and a match in the other regions must succeed.

    The region's API takes no new matches and names the other regions; running matches are played to their end. On the
    target `local` accounts and results stay with their region. On AWS the others are looked at, as `mjctl health` does;
    if the region writes to the global database, another one takes the writer first, without loss of data unless
    --allow-data-loss; then DNS leaves the region out within minutes. If the writer cannot move, players stay where they
    are. Exit code 3 when the probes afterwards fail; that of the error when a step failed.

    Example: mjctl failover --region us-east-1 --dry-run
    """
    from mjctl.cli.target import Target
    from mjctl.fleet.failover import successors

    _check_options(restore=restore, dry_run=dry_run, with_writer=with_writer, moves=bool(to_region or allow_data_loss))
    target = Target(env, None, output)
    (name,) = chosen_regions(target.environment, [region]) or (region,)
    contract = _deployed(target, name)
    if restore:
        _restore(target, contract, with_writer, yes)
        return
    others = {other: one for other, one in target.contracts.items() if other != name}
    unfit = _unfit(_probe(target, others, without=_gone_with(contract) if allow_data_loss else ()))
    for answer in _dns(others):
        if answer.named is False:
            unfit.setdefault(answer.region, []).append("DNS leaves the region out")
    elsewhere = successors(target.contracts, name, unfit)
    target.session.say(*(f"{other} is not fit: {reason}" for other, reasons in unfit.items() for reason in reasons))
    writer = _writer_to_move(name, elsewhere, to_region, allow_data_loss)
    takers = [one.region for one in elsewhere]
    planned = f"players of {name} to {', '.join(takers)}"
    if dry_run:
        steps = [Step("writer", "planned", writer.summary)] if writer else []
        steps.append(Step("traffic", "planned", planned))
        before = _traffic(contract, may_be_gone=allow_data_loss)
        emit(target, "none", name, takers, before, steps, writer=writer, dns=_dns(target.contracts))
        return
    question = f"Send the {planned} in {target.environment.name}?"
    if writer:
        question = f"Move the {writer.summary}; then send the {planned} in {target.environment.name}?"
    target.session.confirm(question, yes=yes)
    _leave(target, contract, elsewhere, writer, wait, may_be_gone=allow_data_loss)


def _check_options(*, restore: bool, dry_run: bool, with_writer: bool, moves: bool) -> None:
    if restore and dry_run:
        raise UsageError("--restore and --dry-run exclude each other")
    if restore and moves:
        raise UsageError(
            "--restore takes neither --to-region nor --allow-data-loss",
            hint="--restore --with-writer moves the writer back to the region, without loss of data",
        )
    if with_writer and not restore:
        raise UsageError("--with-writer belongs to --restore", hint="a failover moves the writer by itself")


def _leave(
    target: Target,
    contract: Contract,
    elsewhere: Sequence[Contract],
    writer: WriterMove | None,
    wait: float,
    *,
    may_be_gone: bool,
) -> None:
    """The writer first: if it cannot move, nothing has changed. Traffic that moved first would leave players where
    nothing can be written, or have to be moved back through caches of DNS."""
    from mjctl.fleet.failover import close, empty

    def say(text: str) -> None:
        target.session.say(text)

    name, takers = contract.region, [one.region for one in elsewhere]
    steps, error = [], None
    if writer:
        step, error = _move(target, {one.region: one for one in elsewhere}[writer.to.region], writer)
        steps.append(step)
    traffic = Step("traffic", "skipped", f"players stay in {name}")
    if error is None:
        try:
            asyncio.run(close(contract, elsewhere))
            traffic = Step("traffic", "done", f"players of {name} to {', '.join(takers)}")
        except MjctlError as failed:
            traffic, error = Step("traffic", "failed", str(failed)), failed
    steps.append(traffic)
    if error:
        now = _traffic(contract, may_be_gone=True)
        emit(target, "failed", name, [], now, steps, writer=writer, dns=_dns(target.contracts, may_fail=True))
        _fail(target, error)
    left = _traffic(contract, may_be_gone=may_be_gone)
    if left is not None and wait:
        left = asyncio.run(empty(contract, wait, say))
    without = _gone_with(contract) if may_be_gone else ()
    probes = _probe(target, {one.region: one for one in elsewhere}, without=without)
    refused = _refuses(target, contract)
    emit(target, "closed", name, takers, left, steps, probes, writer=writer, dns=_dns(target.contracts))
    if _unfit(probes) or not refused:
        raise Exit(ExitCode.UNHEALTHY)


def _move(target: Target, contract: Contract, writer: WriterMove) -> tuple[Step, MjctlError | None]:
    """Move the writer to the region of `contract`.

    Raises:
        Interrupted: while waiting; AWS goes on by itself.
    """
    from mjctl.fleet import failover_writer

    def say(text: str) -> None:
        target.session.say(text)

    try:
        asyncio.run(failover_writer.move(contract, writer.database, writer.to, lossy=writer.lossy, say=say))
    except MjctlError as error:
        return Step("writer", "failed", str(error)), error
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted while the writer moves; AWS goes on with it if it was asked already, players were not moved",
            where=f"global cluster {writer.database.name}",
            hint=failover_writer.look_hint(contract, writer.database.name),
        ) from None
    return Step("writer", "done", writer.summary), None


def _fail(target: Target, error: MjctlError) -> NoReturn:
    target.session.say(str(error))
    if error.hint:
        target.session.say(error.hint)
    raise Exit(error.exit_code)


def _writer_to_move(
    leaving: str, elsewhere: Sequence[Contract], to_region: str | None, lossy: bool
) -> WriterMove | None:
    """None where the region does not write: it need not move then."""
    from mjctl.fleet import failover_writer

    # A region that stays is asked: the one that is left may not answer.
    database = asyncio.run(failover_writer.look(elsewhere[0]))
    if database is None or database.writer != leaving:
        if to_region:
            raise UsageError(
                f"{leaving} does not write to a global database, so --to-region has nothing to move",
                hint=f"the writer is in {database.writer}" if database else "the database has one region only",
            )
        return None
    fit, primary = {one.region: one for one in elsewhere}, _primary(elsewhere[0])
    database = asyncio.run(failover_writer.with_lags(database, fit))
    under_way = database.copy_in(database.moving_to) if database.moving_to in fit else None
    if under_way and to_region in (None, under_way.region):
        return WriterMove(database, under_way, lossy, primary)
    return WriterMove(database, failover_writer.choose(database, fit, to_region), lossy, primary)


def _restore(target: Target, contract: Contract, with_writer: bool, yes: bool) -> None:
    from mjctl.fleet import failover_writer
    from mjctl.fleet.failover import reopen, traffic

    name = contract.region
    database = asyncio.run(failover_writer.look(contract))
    writer: WriterMove | None = None
    if with_writer:
        if database is None:
            raise UsageError("--with-writer: the database has one region only", where=f"region {name}")
        if database.writer != name:
            database = asyncio.run(failover_writer.with_lags(database, {name: contract}))
            copy = failover_writer.choose(database, [name], name)
            writer = WriterMove(database, copy, lossy=False, primary=_primary(contract))
    question = f"Let {target.environment.name} {name} take matches again?"
    target.session.confirm(f"Move the {writer.summary}; then: {question}" if writer else question, yes=yes)
    steps: list[Step] = []
    if writer:
        step, error = _move(target, contract, writer)
        steps.append(step)
        if error:
            steps.append(Step("traffic", "skipped", f"{name} is left out as before"))
            now = asyncio.run(traffic(contract))
            emit(target, "failed", name, [], now, steps, writer=writer, dns=_dns({name: contract}, may_fail=True))
            _fail(target, error)
    elif database:
        steps.append(Step("writer", "unchanged", _writer_advice(contract, database)))
    changed = asyncio.run(reopen(contract))
    dns = _dns({name: contract})
    action = "restored" if changed or writer else "none"
    summary = f"{name} takes players again" if changed else f"{name} was not left out"
    if changed and dns:
        # The alarm decides again, and may still keep the region out.
        summary = dns[0].summary
    steps.append(Step("traffic", "done" if changed else "unchanged", summary))
    probes = _probe(target, {name: contract})
    emit(target, action, name, [], asyncio.run(traffic(contract)), steps, probes, writer=writer, dns=dns)
    if _unfit(probes) or any(one.named is False for one in dns):
        raise Exit(ExitCode.UNHEALTHY)


def _primary(contract: Contract) -> str:
    return contract.managed.primary_region if contract.managed else contract.region


def _writer_advice(contract: Contract, database: GlobalDatabase) -> str:
    """Terraform gives the primary region's functions the address at which its own cluster takes writes."""
    primary = _primary(contract)
    at = f"the writer of {database.name} is in {database.writer}"
    if database.writer == primary:
        return f"{at}, the primary region: it is where it belongs"
    return (
        f"{at}; it belongs to the primary region {primary}, where functions expect to write: "
        f"`mjctl failover --env {contract.environment} --region {primary} --restore --with-writer` moves it back"
    )


def _gone_with(contract: Contract) -> tuple[str, ...]:
    """What the other regions need not show when this one is lost: players' accounts live in the primary region."""
    return ("identity",) if contract.managed and _primary(contract) == contract.region else ()


def _traffic(contract: Contract, *, may_be_gone: bool) -> Traffic | None:
    from mjctl.fleet.failover import traffic

    try:
        return asyncio.run(traffic(contract))
    except (UnreachableError, NotFoundError):
        if may_be_gone:
            return None
        raise


def _deployed(target: Target, region: str) -> Contract:
    from mjctl.terraform.contracts import deployed_contracts

    found = target.contracts.get(region)
    return found or deployed_contracts(target.workspace, target.environment, [region])[region]


def _refuses(target: Target, contract: Contract) -> bool:
    """Whether the region takes no new match any more. On AWS: whether DNS leaves it out."""
    if contract.managed is not None:
        return all(one.named is False for one in _dns({contract.region: contract}))
    return any(one.evidence.get("closed") for one in _probe(target, {contract.region: contract}, only=["match"]))


def _dns(contracts: Mapping[str, Contract], *, may_fail: bool = False) -> list[RegionDns]:
    """What Route 53 does with each region on AWS; empty for the target `local`, which has no DNS."""
    from mjctl.clients.dns import region_dns

    async def look() -> list[RegionDns]:
        managed = [(one, one.managed) for one in contracts.values() if one.managed is not None]
        return list(await asyncio.gather(*(region_dns(*one) for one in managed)))

    try:
        return asyncio.run(look())
    except MjctlError:
        if may_fail:
            return []
        raise


def _probe(
    target: Target,
    contracts: Mapping[str, Contract],
    *,
    only: Sequence[str] | None = None,
    without: Sequence[str] = (),
) -> list[CheckResult]:
    """Whether each region is fit: a real log-in and a real match, or what health says of it."""
    from mjctl.fleet.failover import probes_of
    from mjctl.health.runner import run_health

    if not contracts:
        return []
    only = [name for name in only or probes_of(next(iter(contracts.values()))) if name not in without]
    folders = {name: target.workspace.region_dir(target.environment.name, name) / "secrets" for name in contracts}
    report = asyncio.run(run_health(target.environment.name, contracts, folders, only=only))
    return list(report.results)


def _unfit(probes: Sequence[CheckResult]) -> dict[str, list[str]]:
    """The regions that cannot take players, and for each the checks that say so.

    A region that is closed itself is one of them: the probe of a match there warns of it.
    """
    found: dict[str, list[str]] = {}
    for probe in probes:
        if probe.status == "fail" or (probe.name in ("login", "match") and probe.status != "pass"):
            found.setdefault(probe.region, []).append(f"check `{probe.name}`: {probe.summary}")
    return found
