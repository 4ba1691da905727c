"""Runs the work on a private database in the backup task of the region, inside the region's VPC.

mjctl sends its own code and a request, starts the task by ECS, shows the task's progress, and returns the task's
result. Ctrl-C stops the task, which removes what it has begun: an unfinished backup, or a scratch copy.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from mjctl.backup.code_archive import code_archive
from mjctl.backup.create import OnProgress, backup_clients
from mjctl.backup.messages import VARIABLE, TaskReport, TaskRequest, TaskWork, inside, program_name, report_name
from mjctl.backup.streams import was_cancelled_before_the_end_of
from mjctl.backup.tidy import tidy
from mjctl.clients.backup_task import BackupTaskRunner
from mjctl.clients.objects import ObjectStore, open_store
from mjctl.models.backup import Kind
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError, UnreachableError, UsageError

# Fargate needs one to two minutes to attach a network interface, to pull the image and to start the container.
_START_SECONDS = 600.0
# ECS kills the container 120 s after StopTask (`stopTimeout` of terraform/modules/backup_task).
_STOP_SECONDS = 180.0
_LOOK_SECONDS = 2.0
_WAITING = frozenset({"UNKNOWN", "PROVISIONING", "PENDING", "ACTIVATING"})


def needs_task(contract: Contract, kinds: Collection[Kind] = (Kind.DATABASE,)) -> bool:
    """Return whether only a program inside the region's VPC can do the work on stores of these kinds."""
    return contract.database.access == "private" and Kind.DATABASE in kinds


async def run_in_task(
    contract: Contract,
    work: TaskWork,
    location: str | None,
    *,
    kinds: Collection[Kind] = (),
    name: str = "",
    on_progress: OnProgress = lambda _label, _count: None,
) -> TaskReport:
    """Run work in the backup task of the region, and return the task's report.

    Args:
        contract: the region's contract.
        work: what the task does.
        location: the store that the operator chose; must be None.
        kinds: the kinds of stores that a backup contains.
        name: the id of the backup for a drill, or the name of the scratch copy to discard.
        on_progress: receives the number of records that the task has processed since the last call.

    Raises:
        MjctlError: the error of the task, with its exit code.
        RefusedError: the region has no backup task.
        UsageError: `location` is not None.
        UnreachableError: the task did not start, or ended without a result.
    """
    request = TaskRequest(uuid.uuid4().hex, work, inside(contract), tuple(kinds), name)
    if location is not None:
        raise UsageError(
            "the backup task of a private database reads and writes only the region's own bucket",
            hint="leave out --store and backup.store, or select stores other than the database with --only table",
        )
    with backup_clients(contract) as clients:
        store = open_store(contract, clients)
        runner = BackupTaskRunner(contract, clients)
        return await _Run(contract, store, runner, request, on_progress).execute()


@dataclass
class _Run:
    contract: Contract
    store: ObjectStore
    runner: BackupTaskRunner
    request: TaskRequest
    on_progress: OnProgress
    arn: str | None = None
    seen: int = 0

    async def execute(self) -> TaskReport:
        try:
            await self._start()
            report = await self._result()
        except BaseException:
            await tidy(
                self._end(),
                "stopping the backup task",
                leaves=self.runner.stop_command(self.arn) if self.arn else "no task runs",
            )
            raise
        await tidy(self._remove(), "removing the objects of the task", leaves="the objects of the run stay unused")
        if report.failure is not None:
            raise report.failure.error()
        return report

    async def _start(self) -> None:
        program = code_archive()
        await self.store.put(program_name(self.request.run), program)
        bucket, _, prefix = self.store.location.removeprefix("s3://").partition("/")
        variables = {
            VARIABLE: msgspec.json.encode(self.request).decode(),
            "PROGRAM_BUCKET": bucket,
            "PROGRAM_KEY": prefix + program_name(self.request.run),
            "PROGRAM_SHA256": hashlib.sha256(program).hexdigest(),
        }
        starting = asyncio.ensure_future(self.runner.start(variables, self.request.run))
        cancelled = await was_cancelled_before_the_end_of(starting)
        # Learn the ARN of the task even if the command was interrupted during the call, so that `_end` can stop it.
        self.arn = starting.result()
        if cancelled:
            raise asyncio.CancelledError

    async def _result(self) -> TaskReport:
        """Wait until the task has written its result."""
        assert self.arn is not None  # noqa: S101  `_start` sets it
        began = time.monotonic()
        while True:
            # Ask for the state before the report: a task that has stopped writes no later report.
            state = await self.runner.look(self.arn)
            report = await self._read()
            if report.done:
                return report
            if state.status == "STOPPED":
                raise self.runner.failed(state)
            if state.status in _WAITING and time.monotonic() - began > _START_SECONDS:
                raise UnreachableError(
                    f"the backup task did not start in {_START_SECONDS:.0f} s: its state is {state.status}",
                    where=f"{self.contract.environment}, {self.contract.region}",
                    hint=f"repeat the command; {self.runner.log_command} shows what the task has logged",
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def _read(self) -> TaskReport:
        try:
            data = await self.store.get(report_name(self.request.run))
        except NotFoundError:
            return TaskReport()
        report = msgspec.json.decode(data, type=TaskReport)
        if report.records > self.seen:
            self.on_progress("task", report.records - self.seen)
            self.seen = report.records
        return report

    async def _end(self) -> None:
        """Stop the task, wait until it has ended, and remove the objects of the run."""
        if self.arn is not None and (await self.runner.look(self.arn)).status != "STOPPED":
            await self.runner.stop(self.arn, "mjctl was interrupted")
            deadline = time.monotonic() + _STOP_SECONDS
            while (await self.runner.look(self.arn)).status != "STOPPED" and time.monotonic() < deadline:
                # The report is complete before ECS has stopped the task, and the task changes nothing afterwards.
                if (await self._read()).done:
                    break
                await asyncio.sleep(_LOOK_SECONDS / 4)
        await self._remove()

    async def _remove(self) -> None:
        with suppress(NotFoundError):
            await self.store.delete([program_name(self.request.run), report_name(self.request.run)])
