"""Starts, watches and stops the ECS task that makes portable backups inside a region's VPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mjctl.clients.boto import RegionClients
from mjctl.clients.ecs import cluster_arn
from mjctl.models.contract import BackupTask, Contract
from mjctl.models.errors import MjctlError, RefusedError, UnreachableError


@dataclass(frozen=True)
class BackupTaskState:
    """Describes a backup task, as ECS reports it.

    Attributes:
        status: The last status, e.g. PENDING, RUNNING or STOPPED; UNKNOWN if ECS does not know the task yet.
        reason: ECS's reason for the end of the task, or an empty text.
        exit_code: The exit code of the container, or None if it has not ended or never started.
    """

    status: str
    reason: str = ""
    exit_code: int | None = None


class BackupTaskRunner:
    """Runs the backup task of a region.

    Raises:
        RefusedError: the contract names no backup task.
    """

    def __init__(self, contract: Contract, clients: RegionClients) -> None:
        task = contract.backup.task
        if task is None:
            raise RefusedError("the region has no backup task", where=f"{contract.environment}, {contract.region}")
        self._contract = contract
        self._task: BackupTask = task
        self._clients = clients
        self._cluster = cluster_arn(contract)

    @property
    def log_command(self) -> str:
        """Return the command that shows the log of the tasks."""
        return f"`aws logs tail {self._task.log_group} --region {self._contract.region}`"

    def stop_command(self, arn: str) -> str:
        """Return a sentence with the command that stops a task without mjctl."""
        return f"`aws ecs stop-task --cluster {self._cluster} --task {arn} --region {self._contract.region}` stops it"

    async def start(self, variables: Mapping[str, str], run: str) -> str:
        """Start a task with further environment variables. Returns: the task's ARN.

        ECS starts one task only for calls with an equal `clientToken`, so a repeated request starts no second task:
        https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html

        Args:
            variables: The environment variables.
            run: The id of the run, unique and with 64 characters at most.

        Raises:
            PermissionDeniedError: AWS refuses the call.
            UnreachableError: ECS starts no task, or does not answer.
        """
        answer = await self._clients.call(
            "ecs",
            "run_task",
            clientToken=run,
            cluster=self._cluster,
            count=1,
            launchType="FARGATE",
            networkConfiguration={
                "awsvpcConfiguration": {
                    "assignPublicIp": "DISABLED",
                    "securityGroups": [self._task.security_group],
                    "subnets": list(self._task.subnets),
                }
            },
            overrides={
                "containerOverrides": [
                    {
                        "name": self._task.container,
                        "environment": [{"name": name, "value": value} for name, value in variables.items()],
                    }
                ]
            },
            startedBy=f"mjctl-{run}",
            taskDefinition=self._task.task_definition,
        )
        if not answer.get("tasks"):
            failure = (answer.get("failures") or [{}])[0]
            raise UnreachableError(
                f"ECS started no backup task: {failure.get('reason') or 'no reason given'}",
                where=f"{self._contract.environment}, {self._contract.region}",
                hint="repeat the command, or check the account's limit of Fargate tasks",
            )
        return str(answer["tasks"][0]["taskArn"])

    async def look(self, arn: str) -> BackupTaskState:
        """Return the state of the task."""
        answer = await self._clients.call("ecs", "describe_tasks", cluster=self._cluster, tasks=[arn])
        if not answer.get("tasks"):
            return BackupTaskState("UNKNOWN")
        task = answer["tasks"][0]
        containers = task.get("containers") or [{}]
        reasons = (task.get("stoppedReason"), containers[0].get("reason"))
        return BackupTaskState(
            str(task["lastStatus"]),
            ": ".join(dict.fromkeys(reason for reason in reasons if reason)),
            containers[0].get("exitCode"),
        )

    async def stop(self, arn: str, reason: str) -> None:
        """Ask ECS to stop the task. ECS sends SIGTERM, and after the container's `stopTimeout` SIGKILL.

        https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopTask.html
        """
        await self._clients.call("ecs", "stop_task", cluster=self._cluster, task=arn, reason=reason)

    def failed(self, state: BackupTaskState) -> MjctlError:
        """Return the error for a task that ended without a report."""
        code = "" if state.exit_code is None else f", exit code {state.exit_code}"
        return UnreachableError(
            f"the backup task ended without a result: {state.reason or 'ECS gives no reason'}{code}",
            where=f"{self._contract.environment}, {self._contract.region}",
            hint=f"{self.log_command} shows what the task has logged. An image of an older release lacks the command "
            f"`gameserver program`: `mjctl deploy {self._contract.scope}` replaces the image",
        )
