"""Reads ministack's records of load balancers, listeners, rules and target groups.

The functions run in ministack's process, inside `ministack.core.responses.request_scope` of the account and region.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mjctl.sandbox.stage.listener_rules import forward_groups

Record = Mapping[str, Any]


def load_balancers() -> Iterator[tuple[str, str, Record]]:
    """Yield each load balancer of all accounts and regions: its account, its region and its record."""
    from ministack.services import alb

    for (account, region, _), record in list(alb._lbs._data.items()):
        yield account, region, record


def target_groups() -> Iterator[tuple[str, str, Record]]:
    """Yield each target group of all accounts and regions: its account, its region and its record."""
    from ministack.services import alb

    for (account, region, _), record in list(alb._tgs._data.items()):
        yield account, region, record


def listeners(load_balancer: str) -> list[Record]:
    """Return the records of a load balancer's listeners, by the load balancer's ARN."""
    from ministack.services import alb

    return [record for record in alb._listeners.values() if record["LoadBalancerArn"] == load_balancer]


def rules(listener: str) -> list[Record]:
    """Return a listener's rules in the order in which the listener evaluates them. The default rule is the last."""
    from ministack.services import alb

    return sorted((r for r in alb._rules.values() if r.get("ListenerArn") == listener), key=alb._rule_sort_key)


def users(target_group: str) -> list[Record]:
    """Return the load balancers whose rules forward to a target group."""
    from ministack.services import alb

    balancers = []
    for record in alb._lbs.values():
        forwarded = {
            group
            for listener in listeners(record["LoadBalancerArn"])
            for rule in rules(listener["ListenerArn"])
            for group in forward_groups(rule.get("Actions") or [])
        }
        if target_group in forwarded:
            balancers.append(record)
    return balancers


def registered(target_group: Record) -> list[tuple[str, int]]:
    """Return the address and the port of each target that is registered in a target group."""
    from ministack.services import alb

    targets = alb._targets.get(target_group["TargetGroupArn"]) or []
    return [(target["Id"], int(target.get("Port") or target_group["Port"])) for target in targets]


def group_attribute(target_group: str, key: str, default: str) -> str:
    """Return the value of a target group's attribute `key`, or `default` if the attribute is not set."""
    from ministack.services import alb

    return next((str(a["Value"]) for a in alb._tg_attrs.get(target_group) or [] if a["Key"] == key), default)


def balancer_attribute(load_balancer: str, key: str, default: str) -> str:
    """Return the value of a load balancer's attribute `key`, or `default` if the attribute is not set."""
    from ministack.services import alb

    return str(alb._lb_attr(load_balancer, key, default))


def listener_attribute(listener: str, key: str, default: str) -> str:
    """Return the value of a listener's attribute `key`, or `default` if the attribute is not set."""
    from ministack.services import alb

    return next((str(a["Value"]) for a in alb._listener_attrs.get(listener) or [] if a["Key"] == key), default)
