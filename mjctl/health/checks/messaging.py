"""Checks the queues, their dead-letter queues, and the topics that send events to the queues."""

from __future__ import annotations

from collections.abc import Iterator

from mjctl.clients.queues import oldest_message_seconds, queue_depth
from mjctl.health.model import Check, CheckFunction, Finding, RegionContext, failed, graded, passed, worst
from mjctl.models.check import CheckStatus
from mjctl.models.contract import Contract


def checks(contract: Contract) -> Iterator[Check]:
    """Yield a check of each queue, of each dead-letter queue and of each topic."""
    for key in contract.queues:
        yield Check(f"queue/{key}", _queue(key))
        yield Check(f"dead-letters/{key}", _dead_letters(key))
    for key in contract.topics:
        yield Check(f"topic/{key}", _topic(key))


def _queue(key: str) -> CheckFunction:
    async def check(context: RegionContext) -> Finding:
        queue, bounds = context.contract.queues[key], context.thresholds
        depth = await queue_depth(context.clients, queue.url)
        age = await oldest_message_seconds(context.clients, queue.arn, depth)
        status = worst(
            (
                graded(depth.waiting, warn=bounds.queue_depth_warn, fail=bounds.queue_depth_fail),
                graded(age or 0, warn=bounds.queue_age_seconds_warn, fail=bounds.queue_age_seconds_fail),
            )
        )
        oldest = "" if age is None else f", oldest {age:.0f} s"
        return Finding(
            status,
            f"{depth.waiting} messages waiting, {depth.in_flight} in flight{oldest}",
            None
            if status is CheckStatus.PASS
            else "the worker is too slow or has stopped: if the check `worker` fails, follow the advice of that check. "
            "Otherwise wait a minute and look again",
            {
                "waiting": depth.waiting,
                "in_flight": depth.in_flight,
                "delayed": depth.delayed,
                "oldest_age_seconds": age,
            },
        )

    return check


def _dead_letters(key: str) -> CheckFunction:
    async def check(context: RegionContext) -> Finding:
        contract = context.contract
        depth = await queue_depth(context.clients, contract.queues[key].dead_letter.url)
        scope = f"--env {contract.environment} --region {contract.region}"
        if depth.total >= context.thresholds.dead_letters_fail:
            return failed(
                f"{depth.total} messages that the worker could not process",
                hint=f"`mjctl queue peek {key} {scope}` shows the messages and their errors; after the cause is fixed, "
                f"`mjctl queue redrive {key} {scope}` sends them to the worker again. A message that fails again "
                "returns to the dead-letter queue",
                messages=depth.total,
            )
        return passed("empty" if depth.total == 0 else f"{depth.total} messages", messages=depth.total)

    return check


def _topic(key: str) -> CheckFunction:
    async def check(context: RegionContext) -> Finding:
        contract = context.contract
        arn = contract.topics[key]
        answer = await context.clients.call_all("sns", "list_subscriptions_by_topic", TopicArn=arn)
        subscriptions: list[dict[str, str]] = answer["Subscriptions"]
        endpoints = {item.get("Endpoint") for item in subscriptions}
        fed = [name for name, queue in contract.queues.items() if queue.arn in endpoints]
        if not fed:
            return failed(
                "no queue is subscribed to this topic, so events of the game are lost",
                hint=f"`mjctl deploy --env {contract.environment} --region {contract.region}` subscribes the queue "
                "again",
                subscriptions=len(subscriptions),
            )
        return passed(f"sends to {', '.join(fed)}", subscriptions=len(subscriptions), queues=fed)

    return check
