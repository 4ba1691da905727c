"""Plans the functions and the game servers of production with the values that Terraform learns only at an apply.

The plan of a region does not know the addresses of its stores, so it shows no environment variables of most functions.
`applied_plan` plans the region again with a state that contains the stores. Terraform itself then computes each
variable and each policy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import terraform_cli

from tools.plan_model import Plan

PROVIDER = 'provider["registry.terraform.io/hashicorp/aws"]'
# A planned change of a store would make its addresses unknown again. The state has only the attributes that other
# resources refer to, so the second plan must not compare the stores with their configuration.
_KEPT = {
    "cache": ("aws_elasticache_replication_group.main",),
    "database": ("aws_rds_cluster.main",),
    "events": ("aws_sns_topic.topic", "aws_sqs_queue.queue"),
}
# The planned resources. Terraform adds the resources to which these refer, e.g. roles and policies.
_TARGETS = (
    "module.functions.aws_lambda_event_source_mapping.queue",
    "module.functions.aws_lambda_function.function",
    "module.game_service.aws_ecs_task_definition.game",
    "module.game_service.aws_iam_role_policy_attachment.execution",
    "module.game_service.aws_iam_role_policy_attachment.task",
    "module.operations_access.module.function.aws_lambda_function.function",
)


def applied_plan(
    folder: Path,
    plan: Plan,
    variables: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]],
    endpoints: Mapping[str, str],
) -> Plan:
    """Plan a region as if its stores existed.

    Args:
        folder: an empty folder for a copy of terraform/.
        plan: the plan of the region from an empty state.
        variables: the variables of the stack `region`.
        known: the attributes of each store that Terraform learns at an apply, by the address of the resource.
        endpoints: variables with the endpoints of the emulated AWS.
    """
    tree = terraform_cli.copy_tree(folder)
    for module, resources in _KEPT.items():
        blocks = [_override(*resource.split(".")) for resource in resources]
        (tree / "modules" / module / "kept_override.tf").write_text("\n".join(blocks), encoding="utf-8")
    state = folder / "region"
    state.mkdir()
    (state / "terraform.tfstate").write_text(json.dumps(_state(plan, known)), encoding="utf-8")
    root = terraform_cli.initialised(tree / "stacks" / "region", state, endpoints)
    targets = (f"-target={target}" for target in _TARGETS)
    return Plan(plan.name, plan.region, root.plan(variables, "-refresh=false", *targets))


def with_names(plan: Plan, names: Mapping[str, str]) -> Plan:
    """Return a plan in which the actual ids of resources replace the invented ids."""
    text = json.dumps(plan.document)
    for invented, actual in names.items():
        text = text.replace(invented, actual)
    return Plan(plan.name, plan.region, json.loads(text))


def _override(kind: str, name: str) -> str:
    return f'resource "{kind}" "{name}" {{\n  lifecycle {{\n    ignore_changes = all\n  }}\n}}\n'


def _state(plan: Plan, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    versions = dict(_schema_versions(plan.document["planned_values"]["root_module"]))
    changes = {change["address"]: change for change in plan.document["resource_changes"]}
    resources = []
    for address, attributes in known.items():
        change = changes[address]
        instance = {"attributes": attributes, "schema_version": versions[address]}
        if "index" in change:
            instance["index_key"] = change["index"]
        named = {key: change[key] for key in ("mode", "name", "type")}
        resources.append({**named, "module": change["module_address"], "provider": PROVIDER, "instances": [instance]})
    return {
        "lineage": "test",
        "outputs": {},
        "resources": resources,
        "serial": 1,
        "terraform_version": plan.document["terraform_version"],
        "version": 4,
    }


def _schema_versions(module: Mapping[str, Any]) -> list[tuple[str, int]]:
    own = [(resource["address"], resource["schema_version"]) for resource in module.get("resources", ())]
    return own + [pair for child in module.get("child_modules", ()) for pair in _schema_versions(child)]
