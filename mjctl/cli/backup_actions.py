"""What the backup commands share: whom they work on, and the longer courses of `restore` and `prune`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mjctl.backup import operations
from mjctl.cli.output.backup import prune_table, region_lines, restore_plan, restore_report
from mjctl.cli.output.reports import health_junit, write_report
from mjctl.cli.output.tables import counted, human_bytes
from mjctl.cli.session import open_environment
from mjctl.cli.target import Target, conclude, regions_document
from mjctl.clients.regions import RegionOutcome
from mjctl.models.backup import Kind, RetentionPolicy
from mjctl.models.check import CheckResult, CheckStatus
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError, UsageError, VerificationError
from mjctl.terraform import contracts


def restore_portable(
    target: Target,
    source: Contract,
    destination: Contract,
    backup: str,
    only: Sequence[str] | None,
    into: str | None,
    store: str | None,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    work = operations.Restore(
        source, destination, store or target.environment.backup.store, backup, into, tuple(kinds_of(only))
    )
    plan = asyncio.run(work.plan())
    if dry_run:
        target.session.emit(restore_plan(plan), data=operations.restore_plan_document(plan))
        return
    if not yes:
        target.session.err.print(restore_plan(plan))
    if plan.overwrites:
        records = sum(step.there or 0 for step in plan.overwrites)
        target.session.confirm(f"Replace {records} records in {plan.target} by those of {plan.backup_id}?", yes=yes)
    with RecordProgress(target) as progress:
        report = asyncio.run(work.execute(plan, on_progress=progress.of("restoring", destination.region)))
    target.session.emit(restore_report(report), data=operations.restore_report_document(report))
    if not report.equal:
        raise VerificationError(
            "the target differs from the backup after the restore",
            where=report.target,
            hint="something wrote to it meanwhile: stop the game servers and the worker, then repeat the command",
        )


def restore_managed(
    target: Target, source: Contract, backup: str, into: str | None, moment: datetime | None, *, dry_run: bool
) -> None:
    from mjctl.backup import managed
    from mjctl.cli.output.backup import managed_restores

    if into is None:
        raise UsageError("AWS restores into new tables and clusters only", hint="name the copy: --into NAME")
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    done = asyncio.run(managed.restore(source, backup, into, moment, dry_run=dry_run))
    target.session.emit(managed_restores(done), data={"restores": [item.to_json() for item in done]})


def prune(
    target: Target, policy: RetentionPolicy, location: str | None, *, managed: bool, dry_run: bool, yes: bool
) -> None:
    """Plan, show, ask, do."""
    from mjctl.backup import managed as aws

    plans = target.in_each_region(
        lambda contract: (
            aws.plan_prune(contract, policy) if managed else operations.plan_prune(contract, location, policy)
        ),
    )
    if dry_run or any(outcome.error is not None for outcome in plans):
        document = regions_document(plans, operations.prune_plan_document)
        conclude(target.session, plans, prune_table(plans), document)
        return
    chosen = {outcome.region: outcome.value for outcome in plans if outcome.value is not None}
    target.session.err.print(prune_table(plans))
    goes = sum(len(plan.removed) for plan in chosen.values())
    if goes:
        target.session.confirm(f"Remove {counted(goes, 'backup')} of {target.scope}, for good?", yes=yes)
    done = target.in_each_region(
        lambda contract: (
            aws.prune(contract, chosen[contract.region])
            if managed
            else operations.prune(contract, location, chosen[contract.region])
        ),
    )
    freed = region_lines(
        done,
        lambda result: f"{counted(len(result['removed']), 'backup')} removed, {human_bytes(result['freed_bytes'])}",
    )
    conclude(target.session, done, freed, regions_document(done, dict))


def checks_of(target: Target, *only: str) -> Callable[[Contract], Awaitable[Sequence[CheckResult]]]:
    """The health checks with these names, to be run over a copy."""

    async def run(contract: Contract) -> Sequence[CheckResult]:
        from mjctl.health.runner import run_health

        private = target.workspace.region_dir(target.environment.name, contract.region) / "secrets"
        report = await run_health(
            target.environment.name, {contract.region: contract}, {contract.region: private}, only=only
        )
        return report.results

    return run


def write_drill_junit(path: Path, target: Target, outcomes: Sequence[RegionOutcome[Any]]) -> None:
    """One suite a region; a region whose drill could not begin is a failure too.

    Raises:
        PermissionDeniedError: the file cannot be written.
    """
    results: list[CheckResult] = []
    for outcome in outcomes:
        if outcome.value is not None:
            results += outcome.value.results(outcome.region)
        else:
            results.append(CheckResult("drill", outcome.region, CheckStatus.FAIL, str(outcome.error)))
    write_report(path, health_junit(target.environment.name, results, "backup drill"))


def kinds_of(only: Sequence[str] | None) -> list[Kind]:
    return [Kind(part) for part in only] if only else list(Kind)


def contract_of(target: Target, region: str, env: str | None = None) -> Contract:
    """Another deployed region's contract."""
    workspace, environment = open_environment(env) if env is not None else (target.workspace, target.environment)
    if region not in environment.regions:
        raise NotFoundError(
            f"environment `{environment.name}` has no region {region}",
            hint=f"its regions: {', '.join(environment.regions)}",
        )
    return contracts.deployed_contracts(workspace, environment, (region,))[region]


def only_region(target: Target) -> Contract:
    if len(target.contracts) != 1:
        raise UsageError("a restore is from one region", hint=f"give one --region of {', '.join(target.contracts)}")
    return next(iter(target.contracts.values()))


def where_found(target: Target, work: Callable[[Contract], Awaitable[Any]]) -> list[RegionOutcome[Any]]:
    """The outcomes of the regions that have what was named; all of them when none has."""
    outcomes = target.in_each_region(work)
    found = [outcome for outcome in outcomes if not isinstance(outcome.error, NotFoundError)]
    return found or outcomes


class RecordProgress:
    """One line a region on stderr. Totals are not known beforehand: counting would read everything once more."""

    def __init__(self, target: Target) -> None:
        self._bars = target.session.progress()

    def __enter__(self) -> RecordProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def of(self, word: str, region: str) -> Callable[[str, int], None]:
        """The callback for one region's records."""
        heard = self._bar(f"{word} {region}")
        return lambda _label, count: heard(count)

    def bytes_of(self, region: str) -> Callable[[int], None]:
        return self._bar(f"verifying {region}: bytes")

    def _bar(self, text: str) -> Callable[[int], None]:
        bar = self._bars.add_task(text)
        done = 0

        def heard(count: int) -> None:
            nonlocal done
            done += count
            self._bars.update(bar, completed=done)

        return heard
