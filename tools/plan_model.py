"""Reads the JSON form of a Terraform plan. A value that is not known at plan is `UNKNOWN`, never None.

In a plan's JSON, an unset attribute lacks a value. An attribute that refers to a resource that does not exist yet lacks
a value too, but is marked in the section `after_unknown`. The section `configuration` of a plan's JSON contains the
references between resources, which `Plan.origins` follows through module calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


class _Unknown:
    """Stands for a value that is not known at plan.

    An unknown value counts as false, and every comparison with an unknown value is false, so that no rule passes on an
    unknown value.
    """

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
    """Describes one planned instance of a resource.

    Attributes:
        plan: the plan that contains the resource instance.
        address: full address of the instance in Terraform.
        type: type of the resource, for example `aws_lb`.
        name: name of the resource in its module.
        key: key of the instance in `for_each` or its index in `count`; None without `for_each` and `count`.
        module: names of the module calls that lead to the resource, from the root on, without their keys.
        after: planned attributes whose values are known at plan.
        after_unknown: the structure of `after`, with True at each attribute that is not known at plan.
    """

    plan: Plan = field(repr=False)
    address: str
    type: str
    name: str
    key: str | int | None
    module: tuple[str, ...]
    after: Mapping[str, Any] = field(repr=False)
    after_unknown: Mapping[str, Any] = field(repr=False)

    def get(self, path: str, default: Any = None) -> Any:
        """Return the planned value of an attribute.

        Args:
            path: dotted path with list indexes, for example `rule.0.name`.
            default: the value to return for an unset attribute.

        Returns:
            The value, or UNKNOWN if the value is not known at plan.
        """
        value: Any = self.after
        unknown: Any = self.after_unknown
        for part in path.split("."):
            value, unknown = _step(value, part), _step(unknown, part)
            if unknown is True:
                return UNKNOWN
        return default if value is None else value

    def blocks(self, name: str) -> list[dict[str, Any]]:
        """Return the nested blocks with the name `name`.

        Raises:
            LookupError: the list of blocks is not known at plan. A rule must not take an unknown list for an empty
                list.
        """
        value = self.get(name, [])
        if value is UNKNOWN:
            raise LookupError(f"{self.address}: blocks `{name}` are not known at plan")
        return list(value)

    def origins(self, attribute: str) -> set[str]:
        """Return the resources and module outputs that an attribute refers to: `aws_kms_key.primary`, `keys.arns`."""
        return self.plan.origins(self, attribute)


@dataclass(frozen=True)
class Plan:
    """Holds the plan of one stack.

    Attributes:
        name: name of the stack, for the stack `region` followed by its region.
        region: region of the stack's default provider.
        document: the plan as `terraform show -json` prints it.
    """

    name: str
    region: str
    document: Mapping[str, Any] = field(repr=False)

    def resources(self, *types: str) -> list[Resource]:
        """List the managed resources that exist after an apply of the plan. Without `types` the list has all types."""
        return [r for r in self._resources("managed") if not types or r.type in types]

    def documents(self) -> list[Resource]:
        """List the policy documents that Terraform reads during apply, with the known parts of their statements."""
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
        """Return the configuration of the module at the end of the module calls in `path`."""
        module: Mapping[str, Any] = self.document["configuration"]["root_module"]
        for call in path:
            module = module["module_calls"][call]["module"]
        return module

    def provider_region(self, resource: Resource) -> str:
        """Return the region of the provider that manages a resource."""
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
        """Return the block of a resource in the section `configuration`, which all instances of the resource share.

        Raises:
            LookupError: the configuration does not contain the resource.
        """
        for block in self.module(resource.module)["resources"]:
            if block["type"] == resource.type and block["name"] == resource.name:
                configured: Mapping[str, Any] = block
                return configured
        raise LookupError(f"{resource.address} is not in the configuration")

    def expressions(self, resource: Resource) -> Mapping[str, Any]:
        """Return the expressions of a resource's arguments as the Terraform code contains them."""
        written: Mapping[str, Any] = self.block(resource).get("expressions", {})
        return written

    def origins(self, resource: Resource, attribute: str) -> set[str]:
        """Return the resources and module outputs that an attribute of `resource` refers to, through module calls."""
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
            # If a module's argument is an object, Terraform lists the references of all its attributes together. A
            # reference that ends with the attribute's name counts as the reference of that attribute.
            matching = {name for name in names if len(parts) > 2 and name.endswith(f".{parts[2]}")}
            for name in matching or names:
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
    """Return all references in an expression and in its nested blocks."""
    if isinstance(expression, Mapping):
        listed = expression.get("references", [])
        # Drop the prefixes of references: for `var.network.vpc_id` Terraform also lists `var.network`.
        own = {r for r in listed if not any(other.startswith((f"{r}.", f"{r}[")) for other in listed)}
        return own.union(*(_references(v) for k, v in expression.items() if k != "references"))
    if isinstance(expression, list):
        return set().union(*(_references(item) for item in expression))
    return set()
