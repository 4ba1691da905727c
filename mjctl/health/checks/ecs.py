"""Checks the ECS service of the game servers: tasks, rollouts, autoscaling and the load balancer's targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from mjctl.clients.ecs import EcsDeployment, Service, Task, read_service, read_tasks
from mjctl.clients.ops_function import ops_function
from mjctl.health.checks.fleet import EPOCH_HINT, NOT_SERVED, without_epoch
from mjctl.health.model import (
    AWS_CHECK_SECONDS,
    INVOKE_SECONDS,
    Check,
    Finding,
    RegionContext,
    failed,
    passed,
    skipped,
    warned,
)
from mjctl.models.check import Severity
from mjctl.models.contract import Contract


def checks(contract: Contract) -> Iterator[Check]:
    """Yield the checks of the ECS service, if the region's game servers run on ECS."""
    if contract.fleet.kind != "ecs":
        return
    yield Check("service", check_service, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    yield Check("zones", check_zones, AWS_CHECK_SECONDS)
    yield Check("scaling", check_scaling, AWS_CHECK_SECONDS)
    if contract.state.access == "ops_function":
        yield Check("owners", check_owners, INVOKE_SECONDS)
    if contract.managed is not None:
        yield Check("targets", check_targets, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)


async def check_service(context: RegionContext) -> Finding:
    """Check that the ECS service runs enough tasks of the deployed task definition, and that no rollout hangs."""
    service = await _service(context)
    primary = service.primary
    evidence: dict[str, object] = {
        "status": service.status,
        "desired": service.desired,
        "running": service.running,
        "pending": service.pending,
        "deployments": [
            f"{deployment.status} {deployment.rollout} {deployment.running}/{deployment.desired}"
            for deployment in service.deployments
        ],
        "last_event": service.last_event,
    }
    counts = f"{service.running} of {service.desired} tasks run"
    if service.status != "ACTIVE" or primary is None:
        return failed(
            f"the service is {service.status}", hint=f"{_deploy(context.contract)} restores the service", **evidence
        )
    problem = _problem(context.contract, service, primary)
    if problem:
        return failed(f"{counts}; {problem}", hint=_logs(context.contract), **evidence)
    if primary.rollout == "IN_PROGRESS":
        return _rolling(context, service, primary, evidence)
    if service.running < service.desired:
        return warned(
            f"{counts}: {service.last_event}",
            hint="ECS starts the missing tasks: look again in a minute. If tasks are still missing after a "
            "minute, the last event of the ECS service shows the cause",
            **evidence,
        )
    return passed(counts, **evidence)


def _problem(contract: Contract, service: Service, primary: EcsDeployment) -> str | None:
    """Return the problem of the ECS service's newest rollout in one sentence, or None without a problem."""
    wanted = contract.fleet.task_definition
    if wanted and primary.task_definition != wanted:
        return (
            f"the service has {_revision(primary.task_definition)} instead of {_revision(wanted)}: the ECS circuit "
            "breaker rolled back, or the service was changed outside of mjctl"
        )
    if primary.rollout == "FAILED":
        return f"the rollout failed: {primary.reason}"
    if service.running == 0 and service.desired > 0:
        return service.last_event or "ECS reports no event with the cause"
    return None


def _rolling(context: RegionContext, service: Service, primary: EcsDeployment, evidence: dict[str, object]) -> Finding:
    since = primary.updated_at
    minutes = (datetime.now(UTC) - since).total_seconds() / 60 if since else 0.0
    summary = f"a rollout has been running for {minutes:.0f} min: {primary.running} of {primary.desired} tasks are new"
    if primary.failed_tasks:
        return warned(f"{summary}, {primary.failed_tasks} tasks failed", hint=_logs(context.contract), **evidence)
    if minutes * 60 > context.thresholds.rollout_seconds_fail:
        return failed(f"the rollout hangs: {summary}", hint=_logs(context.contract), **evidence)
    if service.running < service.desired:
        return warned(summary, hint="look again in a minute", **evidence)
    return passed(summary, **evidence)


async def check_zones(context: RegionContext) -> Finding:
    """Check that ECS tasks run in each zone, so that players can still play after the loss of a zone."""
    zones = context.contract.zones
    tasks = await _tasks(context)
    running = Counter(task.zone for task in tasks if task.status == "RUNNING")
    unhealthy = [task.id for task in tasks if task.health == "UNHEALTHY"]
    counted = {zone: running.get(zone, 0) for zone in sorted({*zones, *running})}
    summary = ", ".join(f"{zone} {count}" for zone, count in counted.items())
    evidence: dict[str, object] = {"tasks": counted, "unhealthy": unhealthy}
    if not running:
        return failed("no task runs in any zone", hint="follow the advice of the check `service`", **evidence)
    if unhealthy:
        return warned(
            f"{summary}; {len(unhealthy)} unhealthy",
            hint="ECS replaces unhealthy tasks automatically: look again in a minute",
            **evidence,
        )
    empty = [zone for zone in zones if not running.get(zone)]
    if empty and sum(running.values()) >= len(zones):
        return warned(
            f"{summary}: no task runs in {', '.join(empty)}",
            hint="look in the AWS Health Dashboard for a fault of the zone, and in the VPC console for free addresses "
            "in the zone's subnet. ECS starts tasks in the zone again automatically",
            **evidence,
        )
    if empty:
        return warned(
            f"{summary}: fewer tasks than zones",
            hint="raise game.servers_per_zone in the environment's file and deploy: the loss of one zone may end all "
            "tasks",
            **evidence,
        )
    return passed(summary, **evidence)


async def check_scaling(context: RegionContext) -> Finding:
    """Check that the ECS service has autoscaling, and that autoscaling has not reached its maximum number of tasks."""
    fleet = context.contract.fleet
    answer = await context.clients.call_all(
        "application-autoscaling",
        "describe_scalable_targets",
        ServiceNamespace="ecs",
        ResourceIds=[f"service/{fleet.cluster}/{fleet.service}"],
    )
    if not answer["ScalableTargets"]:
        return failed("the service has no autoscaling", hint=f"{_deploy(context.contract)} restores autoscaling")
    target = answer["ScalableTargets"][0]
    service = await _service(context)
    low, high = target["MinCapacity"], target["MaxCapacity"]
    evidence = {"min": low, "max": high, "desired": service.desired}
    summary = f"{service.desired} tasks desired, {low} to {high} allowed"
    if service.desired >= high:
        return warned(
            f"{summary}: autoscaling has reached its maximum",
            hint=f"raise aws.task.max_tasks_per_zone in the environment's file; then {_deploy(context.contract)}",
            **evidence,
        )
    if service.desired < low:
        return warned(f"{summary}: too few tasks", hint="autoscaling adds tasks within minutes: look again", **evidence)
    return passed(summary, **evidence)


async def check_owners(context: RegionContext) -> Finding:
    """Check that each match can get an owner: no game server waits for an epoch of a match."""
    if not context.contract.endpoints.served:
        return skipped(NOT_SERVED)
    async with ops_function(context.contract) as function:
        servers = (await function.run("servers"))["servers"]
    # A game server of release 0.1.0 counts no epochs. Each server tries to take over each match without an owner.
    waiting = {server["id"]: int(server.get("without_epoch", 0)) for server in servers}
    most = max(waiting.values(), default=0)
    if most:
        return failed(without_epoch(most), hint=EPOCH_HINT, waiting=waiting)
    return passed(f"no match waits for an owner on {len(servers)} servers", waiting=waiting)


async def check_targets(context: RegionContext) -> Finding:
    """Check that the load balancer's health checks pass for all game servers."""
    managed = context.contract.managed
    assert managed is not None  # noqa: S101 - `checks` yields this check only if the contract has `managed`
    answer = await context.clients.call("elbv2", "describe_target_health", TargetGroupArn=managed.target_group)
    states = Counter(item["TargetHealth"]["State"] for item in answer["TargetHealthDescriptions"])
    reasons = sorted(
        {
            str(item["TargetHealth"].get("Description") or item["TargetHealth"].get("Reason"))
            for item in answer["TargetHealthDescriptions"]
            if item["TargetHealth"]["State"] == "unhealthy"
        }
    )
    summary = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no game server is registered"
    evidence = {"targets": dict(states), "reasons": reasons}
    if not states and not context.contract.endpoints.served:
        return skipped(NOT_SERVED, **evidence)
    if not states.get("healthy"):
        return failed(
            f"no player can join a match, because no game server is healthy: {summary}",
            hint="follow the advice of the check `service`: tasks that run register with the load balancer "
            "automatically",
            **evidence,
        )
    if states.get("unhealthy"):
        return warned(
            f"{summary}: {'; '.join(reasons)}",
            hint="ECS replaces unhealthy tasks automatically: look again in a minute",
            **evidence,
        )
    return passed(summary, **evidence)


async def _service(context: RegionContext) -> Service:
    return await context.shared("ecs-service", lambda: read_service(context.contract, context.clients))


async def _tasks(context: RegionContext) -> list[Task]:
    return await context.shared("ecs-tasks", lambda: read_tasks(context.contract, context.clients))


def _revision(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


def _deploy(contract: Contract) -> str:
    return f"`mjctl deploy --env {contract.environment} --region {contract.region}`"


def _logs(contract: Contract) -> str:
    group = contract.fleet.log_group
    if group is None:
        return f"`aws logs describe-log-groups --region {contract.region}` lists the logs, which show the cause"
    return f"`aws logs tail {group} --region {contract.region}` shows the cause in the log of the game servers"
