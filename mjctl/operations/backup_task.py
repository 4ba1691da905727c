"""The program of the backup task, which runs inside a region's VPC (mjctl.backup.remote)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from mjctl.backup import operations
from mjctl.backup.create import Selection, backup_clients
from mjctl.backup.messages import VARIABLE, TaskFailure, TaskReport, TaskRequest, TaskWork, report_name
from mjctl.backup.streams import to_its_end
from mjctl.clients.objects import ObjectStore, open_store
from mjctl.health.runner import run_health
from mjctl.models.check import CheckResult
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError, UnreachableError
from mjctl.models.exit_codes import ExitCode

_PROGRESS_SECONDS = 2.0


def main() -> int:
    """Do the work of the request in the environment, and write the report to the backup store.

    Returns:
        The exit code of the process: 0 if the report contains a result, 1 if it contains an error.
    """
    request = msgspec.json.decode(os.environ[VARIABLE], type=TaskRequest)
    report = asyncio.run(_serve(request))
    if report.failure is not None:
        sys.stderr.write(f"{request.work} failed: {report.failure.what} ({report.failure.where})\n")
        return 1
    sys.stdout.write(f"{request.work} done, {report.records} records\n")
    return 0


async def _serve(request: TaskRequest) -> TaskReport:
    contract = Contract.parse(request.contract)
    with backup_clients(contract) as clients:
        store = open_store(contract, clients)
        work = _TaskWork(request, contract)
        running = asyncio.ensure_future(work.run())
        # ECS stops a task by SIGTERM. The cancellation lets the work remove what it has begun.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        telling = asyncio.ensure_future(_tell(store, request.run, work))
        try:
            report = await _ended(running)
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
        report = msgspec.structs.replace(report, records=work.records, done=True)
        await store.put(report_name(request.run), msgspec.json.encode(report))
        return report


async def _ended(running: asyncio.Future[TaskReport]) -> TaskReport:
    """Wait for the end of the work, and return its result or its error as a report."""
    try:
        return await running
    except MjctlError as error:
        return TaskReport(failure=TaskFailure.of(error))
    except asyncio.CancelledError:
        # An operator who presses Ctrl-C does not read the report. The report is for a stop that the operator did not
        # request, for example at the retirement of a host of Fargate:
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-maintenance.html
        stopped = UnreachableError(
            "ECS stopped the backup task before its end, and the task removed its unfinished work",
            hint="repeat the command. CloudTrail's events StopTask name a principal that stopped the task",
        )
        return TaskReport(failure=TaskFailure.of(stopped))
    except Exception as error:
        # The operator sees one line, and the log of the task has the traceback.
        traceback.print_exc()
        return TaskReport(failure=TaskFailure(int(ExitCode.INTERNAL), f"{type(error).__name__}: {error}"))


async def _tell(store: ObjectStore, run: str, work: _TaskWork) -> None:
    """Write the progress of the work to the store every two seconds."""
    while True:
        await asyncio.sleep(_PROGRESS_SECONDS)
        # The next report replaces a report that could not be written. A write that has begun must end before the last
        # report is written, or it would replace the last report.
        with suppress(MjctlError):
            await to_its_end(store.put(report_name(run), msgspec.json.encode(TaskReport(records=work.records))))


class _TaskWork:
    """Does the work of a request, and counts the records."""

    def __init__(self, request: TaskRequest, contract: Contract) -> None:
        self._request = request
        self._contract = contract
        self.records = 0

    async def run(self) -> TaskReport:
        request, contract = self._request, self._contract
        selection = Selection(request.kinds)
        match request.work:
            case TaskWork.PLAN:
                return TaskReport(parts=tuple(await operations.plan_create(contract, selection)))
            case TaskWork.CREATE:
                return TaskReport(manifest=await operations.create(contract, selection, None, on_progress=self._count))
            case TaskWork.DRILL:
                return TaskReport(
                    drill=await operations.drill(contract, None, request.name, self._checks, on_progress=self._count)
                )
            case TaskWork.DISCARD:
                return TaskReport(names=tuple(await operations.discard(contract, request.name)))
            case TaskWork.COPIES:
                return TaskReport(names=tuple(await operations.copies(contract)))

    def _count(self, _label: str, count: int) -> None:
        self.records += count

    async def _checks(self, copy: Contract) -> Sequence[CheckResult]:
        with tempfile.TemporaryDirectory() as folder:
            report = await run_health(
                copy.environment, {copy.region: copy}, {copy.region: Path(folder)}, only=("database", "table/*")
            )
        return report.results
