"""Registers the rules of production, checks a rule on plans, and reads the values that rules need."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.plan_model import UNKNOWN, Plan, Resource

Plans = Sequence[Plan]


@dataclass
class Report:
    """Collects the results of one rule.

    Attributes:
        looked_at: number of checks that the rule has made.
        broken: a line for each failed check, with the resource and the fault.
    """

    looked_at: int = 0
    broken: list[str] = field(default_factory=list)

    def expect(self, holds: object, place: Resource | Plan, what: str) -> None:
        """Record a check, which has failed unless `holds` is True. `what` describes the fault of a failed check."""
        self.looked_at += 1
        if holds is not True:
            name = f"{place.plan.name}: {place.address}" if isinstance(place, Resource) else place.name
            self.broken.append(f"{name}: {what}")


Rule = Callable[[Plans, Report], None]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Register a function as a rule under its name."""
    RULES[function.__name__] = function
    return function


def every(plans: Plans, *types: str) -> Iterator[Resource]:
    """Yield the resources of the given types from all plans."""
    return (resource for plan in plans for resource in plan.resources(*types))


def regional(plans: Plans) -> list[Plan]:
    """List the plans of the stack `region`."""
    return [plan for plan in plans if plan.name.startswith("region")]


def customer_key(resource: Resource, attribute: str) -> bool:
    """Return whether an attribute is known to name a KMS key of this account in the region of the resource."""
    value = resource.get(attribute)
    if isinstance(value, str):
        region = resource.plan.provider_region(resource)
        return re.fullmatch(rf"arn:aws:kms:{region}:\d{{12}}:key/[\w-]+", value) is not None
    return value is UNKNOWN and bool(resource.origins(attribute)) and resource.origins(attribute) <= {"keys.arns"}


def refers(resource: Resource, path: str, *origins: str) -> bool:
    """Return whether an attribute with an unknown value refers exactly to the resources and outputs `origins`."""
    coming = any(resource.get(place) is UNKNOWN for place in (path, f"{path}.0"))
    return coming and resource.origins(path) == set(origins)


def at_least(value: object, bound: float) -> bool:
    """Return whether `value` is a number and not below `bound`."""
    return isinstance(value, int | float) and value >= bound


def at_most(value: object, bound: float) -> bool:
    """Return whether `value` is a number and not above `bound`."""
    return isinstance(value, int | float) and value <= bound


def statements(resource: Resource, attribute: str = "policy") -> list[dict[str, Any]] | None:
    """Return the statements of a policy as {actions, resources, sid, effect, ...}, or None if they are not known."""
    policy = resource.get(attribute)
    if isinstance(policy, str):
        return [_statement(statement) for statement in _as_list(json.loads(policy)["Statement"])]
    prefix = "data.aws_iam_policy_document."
    names = {origin.removeprefix(prefix) for origin in resource.origins(attribute) if origin.startswith(prefix)}
    for document in resource.plan.documents():
        # A policy document with `for_each` belongs to the resource instance with an equal key. A policy document
        # without `for_each` belongs to all instances.
        if document.module == resource.module and document.name in names and document.key in (resource.key, None):
            return _known_statements(document)
    return None


def _known_statements(document: Resource) -> list[dict[str, Any]] | None:
    if document.get("statement") is UNKNOWN:
        return None
    known = []
    for index, statement in enumerate(document.get("statement", [])):
        part = {name: document.get(f"statement.{index}.{name}") for name in ("actions", "resources", "effect", "sid")}
        unknown_items = [
            document.get(f"statement.{index}.{name}.{i}") is UNKNOWN
            for name in ("actions", "resources")
            for i in range(len(statement.get(name) or []))
        ]
        if any(value is UNKNOWN for value in part.values()) or any(unknown_items):
            return None
        known.append({**part, "effect": part["effect"] or "Allow", "conditions": statement.get("condition") or []})
    return known


def _statement(raw: dict[str, Any]) -> dict[str, Any]:
    return {
        "actions": _as_list(raw.get("Action", [])),
        "conditions": raw.get("Condition", {}),
        "effect": raw["Effect"],
        "principals": raw.get("Principal", {}),
        "resources": _as_list(raw.get("Resource", [])),
        "sid": raw.get("Sid", ""),
    }


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def known_list(resource: Resource, path: str) -> list[Any]:
    """Return a list of the plan, or [] if the list is not known."""
    value = resource.get(path, [])
    return list(value) if isinstance(value, list) else []


def check(name: str, plans: Plans) -> Report:
    """Run one rule.

    If a rule needs blocks that are not known at plan, the rule counts as broken and raises no error.
    """
    report = Report()
    try:
        RULES[name](plans, report)
    except LookupError as unknown:
        report.broken.append(str(unknown))
    return report
