"""A Terraform plan as its JSON has it, asked safely: a value that is not known at plan is `UNKNOWN`, never None.

In plan JSON an attribute that is unset and one that refers to something not yet made both lack a value.
`after_unknown` tells the two apart, and the configuration tells what is referred to: `Plan.origins` follows references
through module calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


class _Unknown:
    """Not known at plan. False, and neither equal nor unequal to anything: no rule passes by accident."""

    def __bool__(self) -> bool:
        return False

    def _compare(self, _: object) -> bool:
        return False

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _compare
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


@dataclass(frozen=True)
class Resource:
    """One planned instance. `module`: the calls that lead to it, without index keys; `key`: index of `for_each`."""

    plan: Plan = field(repr=False)
    address: str
    type: str
    name: str
    key: str | int | None
    module: tuple[str, ...]
    after: Mapping[str, Any] = field(repr=False)
    after_unknown: Mapping[str, Any] = field(repr=False)

    def get(self, path: str, default: Any = None) -> Any:
        """Value at a dotted path, list indexes included (`rule.0.name`); UNKNOWN when not known at plan.

        `default` stands for what is unset.
        """
        value: Any = self.after
        unknown: Any = self.after_unknown
        for part in path.split("."):
            value, unknown = _step(value, part), _step(unknown, part)
            if unknown is True:
                return UNKNOWN
        return default if value is None else value

    def blocks(self, name: str) -> list[dict[str, Any]]:
        """Nested blocks of one name; a block list that is not known is an error, so that no rule sees it as empty."""
        value = self.get(name, [])
        if value is UNKNOWN:
            raise LookupError(f"{self.address}: blocks `{name}` are not known at plan")
        return list(value)

    def origins(self, attribute: str) -> set[str]:
        """What an attribute refers to, followed to resources and module outputs: `aws_kms_key.primary`, `keys.arns`."""
        return self.plan.origins(self, attribute)


@dataclass(frozen=True)
class Plan:
    """One stack's plan. `name` is the stack's, with its region where it has one."""

    name: str
    region: str
    document: Mapping[str, Any] = field(repr=False)

    def resources(self, *types: str) -> list[Resource]:
        """Managed resources that exist after the plan, of the given types or of all."""
        return [r for r in self._resources("managed") if not types or r.type in types]

    def documents(self) -> list[Resource]:
        """Policy documents read during apply, with what is known of their statements."""
        return [r for r in self._resources("data") if r.type == "aws_iam_policy_document"]

    def _resources(self, mode: str) -> Iterator[Resource]:
        for change in self.document["resource_changes"]:
            if change["mode"] != mode or change["change"]["actions"] == ["delete"]:
                continue
            path = re.findall(r"module\.([\w-]+)", change.get("module_address", ""))
            yield Resource(
                self,
                change["address"],
                change["type"],
                change["name"],
                change.get("index"),
                tuple(path),
                change["change"]["after"] or {},
                change["change"]["after_unknown"] or {},
            )

    def module(self, path: tuple[str, ...]) -> Mapping[str, Any]:
        """Configuration of the module that the calls of `path` lead to."""
        found: Mapping[str, Any] = self.document["configuration"]["root_module"]
        for call in path:
            found = found["module_calls"][call]["module"]
        return found

    def provider_region(self, resource: Resource) -> str:
        """Region of the provider that makes a resource."""
        key = self.block(resource)["provider_config_key"].rsplit(":", 1)[-1]
        region = self.document["configuration"]["provider_config"][key]["expressions"]["region"]
        if "constant_value" in region:
            return str(region["constant_value"])
        variable, *path = region["references"][0].removeprefix("var.").split(".")
        value: Any = self.document["variables"][variable]["value"]
        for part in path:
            value = value[part]
        return str(value)

    def block(self, resource: Resource) -> Mapping[str, Any]:
        """The resource as configured, whatever its instances."""
        for block in self.module(resource.module)["resources"]:
            if block["type"] == resource.type and block["name"] == resource.name:
                found: Mapping[str, Any] = block
                return found
        raise LookupError(f"{resource.address} is not in the configuration")

    def expressions(self, resource: Resource) -> Mapping[str, Any]:
        """Expressions of a resource's own arguments, as written."""
        found: Mapping[str, Any] = self.block(resource).get("expressions", {})
        return found

    def origins(self, resource: Resource, attribute: str) -> set[str]:
        expression: Any = self.expressions(resource)
        for part in attribute.split("."):
            expression = _step(expression, part)
        names = _references(expression)
        if any(name.startswith("each.value") for name in names):
            names |= _references(self.block(resource).get("for_each_expression", {}))
        return {origin for name in names for origin in self._follow(name, resource.module)}

    def _follow(self, reference: str, path: tuple[str, ...]) -> Iterator[str]:
        parts = re.sub(r"\[[^\]]*\]", "", reference).split(".")
        if parts[0] == "var" and path:
            call = self.module(path[:-1])["module_calls"][path[-1]]
            names = _references(call.get("expressions", {}).get(parts[1], {}))
            # An object's expression lists the references of all its attributes; one of the same name is the one meant.
            meant = {name for name in names if len(parts) > 2 and name.endswith(f".{parts[2]}")}
            for name in meant or names:
                yield from self._follow(name, path[:-1])
        elif parts[0] == "module" and len(parts) > 2:
            source = self.module(path)["module_calls"][parts[1]]["source"]
            yield f"{source.rsplit('/', 1)[-1]}.{parts[2]}"
        elif parts[0] not in {"each", "count", "self", "module"}:
            yield ".".join(parts[: 3 if parts[0] == "data" else 2])


def _step(value: Any, part: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, list) and part.isdigit():
        return value[int(part)] if int(part) < len(value) else None
    return value if value is True else None


def _references(expression: Any) -> set[str]:
    """Every reference in an expression or in the blocks below it."""
    if isinstance(expression, Mapping):
        listed = expression.get("references", [])
        # Terraform lists every prefix of a reference too: `var.network` beside `var.network.vpc_id`.
        own = {r for r in listed if not any(other.startswith((f"{r}.", f"{r}[")) for other in listed)}
        return own.union(*(_references(v) for k, v in expression.items() if k != "references"))
    if isinstance(expression, list):
        return set().union(*(_references(item) for item in expression))
    return set()
