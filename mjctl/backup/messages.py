"""The messages between mjctl and the backup task: the request in an environment variable, the report in the bucket."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from mjctl.backup.create import PlannedPart
from mjctl.models.backup import DrillReport, Kind, Manifest
from mjctl.models.contract import AwsAccess, Contract, Fleet
from mjctl.models.errors import MjctlError, RefusedError

VARIABLE = "MJCTL_BACKUP_TASK"
"""The environment variable of the task that contains the request."""


class TaskWork(StrEnum):
    """Lists what a backup task can do."""

    PLAN = "plan"
    CREATE = "create"
    DRILL = "drill"
    DISCARD = "discard"
    COPIES = "copies"


class TaskRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describes the work of one task. The request contains no secret.

    Attributes:
        run: The id of the run, which is part of the names of the run's objects.
        work: What the task does.
        contract: The region's contract as the task uses it, see `inside`.
        kinds: The kinds of stores that a backup contains.
        name: The id of the backup for a drill, or the name of the scratch copy to discard.
    """

    run: str
    work: TaskWork
    contract: dict[str, Any]
    kinds: tuple[Kind, ...] = ()
    name: str = ""


class TaskFailure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Holds an error of the task: the attributes of an MjctlError."""

    exit_code: int
    what: str
    where: str | None = None
    hint: str | None = None

    @classmethod
    def of(cls, error: MjctlError) -> TaskFailure:
        """Return the message for an error."""
        return cls(int(error.exit_code), error.what, error.where, error.hint)

    def error(self) -> MjctlError:
        """Return an error with the exit code of the task's error."""
        kinds = {int(kind.exit_code): kind for kind in MjctlError.__subclasses__()}
        return kinds.get(self.exit_code, MjctlError)(self.what, where=self.where, hint=self.hint)


class TaskReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describes the progress and the result of a task.

    Attributes:
        records: The number of records that the task has processed.
        done: True if the work has ended, with a result or a failure.
        failure: The error that ended the work, or None.
        manifest: The manifest of the created backup.
        drill: The report of the drill.
        parts: The parts that a backup would contain.
        names: The removed parts of a scratch copy, or the names of the scratch copies.
    """

    records: int = 0
    done: bool = False
    failure: TaskFailure | None = None
    manifest: Manifest | None = None
    drill: DrillReport | None = None
    parts: tuple[PlannedPart, ...] = ()
    names: tuple[str, ...] = ()


def report_name(run: str) -> str:
    """Return the name of the object in the backup store that contains the report of a run."""
    return f"tasks/{run}/report.json"


def program_name(run: str) -> str:
    """Return the name of the object in the backup store that contains the program of a run."""
    return f"tasks/{run}/program.zip"


def inside(contract: Contract) -> dict[str, Any]:
    """Return the contract as the task uses it: with a direct connection to PostgreSQL, and with the role of the task.

    The contract leaves out what the task does not need, because the overrides of RunTask have 8192 characters at most:
    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskOverride.html

    Raises:
        RefusedError: the region has no backup task.
    """
    task = contract.backup.task
    if task is None:
        raise RefusedError(
            "the database is private, and the region has no backup task that reads it inside the VPC",
            where=f"{contract.environment}, {contract.region}",
            hint=f"`mjctl deploy {contract.scope}` creates the task. Until then, use `--kind managed`, or back up the "
            "tables with `--only table`",
        )
    private = contract.database.model_copy(
        update={"access": "direct", "host": task.database_host, "secret": "iam", "user": task.database_user}
    )
    narrowed = contract.model_copy(
        update={
            "aws": AwsAccess(account_id=contract.aws.account_id),
            "backup": contract.backup.model_copy(update={"task": None}),
            "ca_file": None,
            "database": private,
            "fleet": Fleet(kind="ecs"),
            "managed": None,
            "names_file": None,
            "queues": {},
            "topics": {},
        }
    )
    document: dict[str, Any] = narrowed.model_dump(mode="json", exclude_defaults=True)
    return document
