"""The game service on ECS: tasks over the zones, a rollout under way or taken back, the load balancer's targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from mjctl.clients.ecs import EcsDeployment, Service, Task, read_service, read_tasks
from mjctl.health.checks.fleet import NOT_SERVED
from mjctl.health.model import AWS_CHECK_SECONDS, Check, Finding, RegionContext, failed, passed, skipped, warned
from mjctl.models.check import Severity
from mjctl.models.contract import Contract


def checks(contract: Contract) -> Iterator[Check]:
    if contract.fleet.kind != "ecs":
        return
    yield Check("service", check_service, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    yield Check("zones", check_zones, AWS_CHECK_SECONDS)
    yield Check("scaling", check_scaling, AWS_CHECK_SECONDS)
    if contract.managed is not None:
        yield Check("targets", check_targets, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)


async def check_service(context: RegionContext) -> Finding:
    """As many tasks as wanted, and the rollout has ended, with what was deployed."""
    service = await _service(context)
    primary = service.primary
    evidence: dict[str, object] = {
        "status": service.status,
        "desired": service.desired,
        "running": service.running,
        "pending": service.pending,
        "deployments": [f"{one.status} {one.rollout} {one.running}/{one.desired}" for one in service.deployments],
        "last_event": service.last_event,
    }
    counts = f"{service.running} of {service.desired} tasks run"
    if service.status != "ACTIVE" or primary is None:
        return failed(f"the service is {service.status}", hint=_deploy(context.contract), **evidence)
    broken = _broken(context.contract, service, primary)
    if broken:
        return failed(f"{counts}, {broken}", hint=_logs(context.contract), **evidence)
    if primary.rollout == "IN_PROGRESS":
        return _rolling(context, service, primary, evidence)
    if service.running < service.desired:
        return warned(
            f"{counts}: {service.last_event}", hint="ECS starts the rest; if it does not, see its events", **evidence
        )
    return passed(counts, **evidence)


def _broken(contract: Contract, service: Service, primary: EcsDeployment) -> str | None:
    """What is wrong with what the service was told to run."""
    wanted = contract.fleet.task_definition
    if wanted and primary.task_definition != wanted:
        return (
            f"{_revision(primary.task_definition)} instead of {_revision(wanted)}: the circuit breaker took the "
            "rollout back, or somebody changed it by hand"
        )
    if primary.rollout == "FAILED":
        return f"the rollout failed: {primary.reason}"
    if service.running == 0 and service.desired > 0:
        return service.last_event or "and no event says why"
    return None


def _rolling(context: RegionContext, service: Service, primary: EcsDeployment, evidence: dict[str, object]) -> Finding:
    since = primary.updated_at
    minutes = (datetime.now(UTC) - since).total_seconds() / 60 if since else 0.0
    summary = f"a rollout is under way for {minutes:.0f} min: {primary.running} of {primary.desired} tasks are new"
    if primary.failed_tasks:
        return warned(f"{summary}, {primary.failed_tasks} failed", hint=_logs(context.contract), **evidence)
    if minutes * 60 > context.thresholds.rollout_seconds_fail:
        return failed(f"{summary}: it is stuck", hint=_logs(context.contract), **evidence)
    if service.running < service.desired:
        return warned(summary, hint="look again in a minute", **evidence)
    return passed(summary, **evidence)


async def check_zones(context: RegionContext) -> Finding:
    """Every zone has its share of the tasks, so that losing one leaves enough."""
    zones = context.contract.zones
    tasks = await _tasks(context)
    running = Counter(task.zone for task in tasks if task.status == "RUNNING")
    sick = [task.id for task in tasks if task.health == "UNHEALTHY"]
    counted = {zone: running.get(zone, 0) for zone in sorted({*zones, *running})}
    summary = ", ".join(f"{zone} {count}" for zone, count in counted.items())
    evidence: dict[str, object] = {"tasks": counted, "unhealthy": sick}
    if not running:
        return failed("no task runs in any zone", hint="see the check `service`", **evidence)
    if sick:
        return warned(
            f"{summary}; {len(sick)} unhealthy", hint="ECS replaces them by itself; look again in a minute", **evidence
        )
    empty = [zone for zone in zones if not running.get(zone)]
    if empty and sum(running.values()) >= len(zones):
        return warned(
            f"{summary}: nothing runs in {', '.join(empty)}",
            hint="the zone may be impaired (AWS Health Dashboard), or its subnet has no addresses left; ECS rebalances",
            **evidence,
        )
    if empty:
        return warned(
            f"{summary}: fewer tasks than zones",
            hint="raise game.servers_per_zone: a zone that is lost may take all of them with it",
            **evidence,
        )
    return passed(summary, **evidence)


async def check_scaling(context: RegionContext) -> Finding:
    """Autoscaling exists, and has room above."""
    fleet = context.contract.fleet
    answer = await context.clients.call_all(
        "application-autoscaling",
        "describe_scalable_targets",
        ServiceNamespace="ecs",
        ResourceIds=[f"service/{fleet.cluster}/{fleet.service}"],
    )
    if not answer["ScalableTargets"]:
        return failed("nothing scales the service", hint=_deploy(context.contract))
    target = answer["ScalableTargets"][0]
    service = await _service(context)
    low, high = target["MinCapacity"], target["MaxCapacity"]
    evidence = {"min": low, "max": high, "desired": service.desired}
    summary = f"{service.desired} wanted, between {low} and {high}"
    if service.desired >= high:
        return warned(
            f"{summary}: no room to grow",
            hint=f"raise aws.tasks.max_tasks_per_zone; then {_deploy(context.contract)}",
            **evidence,
        )
    if service.desired < low:
        return warned(f"{summary}: below the floor", hint="autoscaling raises it within minutes", **evidence)
    return passed(summary, **evidence)


async def check_targets(context: RegionContext) -> Finding:
    """What the load balancer's own health checks say."""
    managed = context.contract.managed
    assert managed is not None  # noqa: S101 - the registry asks only then
    answer = await context.clients.call("elbv2", "describe_target_health", TargetGroupArn=managed.target_group)
    states = Counter(item["TargetHealth"]["State"] for item in answer["TargetHealthDescriptions"])
    reasons = sorted(
        {
            str(item["TargetHealth"].get("Description") or item["TargetHealth"].get("Reason"))
            for item in answer["TargetHealthDescriptions"]
            if item["TargetHealth"]["State"] == "unhealthy"
        }
    )
    summary = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no target is registered"
    evidence = {"targets": dict(states), "reasons": reasons}
    if not states and not context.contract.endpoints.served:
        return skipped(NOT_SERVED, **evidence)
    if not states.get("healthy"):
        return failed(
            f"no player can be let in: {summary}", hint="tasks register themselves: see the check `service`", **evidence
        )
    if states.get("unhealthy"):
        return warned(
            f"{summary}: {'; '.join(reasons)}", hint="ECS replaces such a task by itself; look again", **evidence
        )
    return passed(summary, **evidence)


async def _service(context: RegionContext) -> Service:
    return await context.shared("ecs-service", lambda: read_service(context.contract, context.clients))


async def _tasks(context: RegionContext) -> list[Task]:
    return await context.shared("ecs-tasks", lambda: read_tasks(context.contract, context.clients))


def _revision(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


def _deploy(contract: Contract) -> str:
    return f"`mjctl deploy --env {contract.environment} --region {contract.region}` puts it back"


def _logs(contract: Contract) -> str:
    group = contract.fleet.log_group
    return f"`aws logs tail {group} --region {contract.region}` says why" if group else "the tasks' log says why"
