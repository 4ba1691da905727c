"""Lists changes of a correct plan. Each change breaks a rule of tools/well_architected by a wrong value, an unknown
value or a missing resource."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tools.plan_model import Plan

Change = dict[str, Any]
Edit = Callable[[Plan, Change], Plan | None]


@dataclass(frozen=True)
class Breakage:
    """Describes how to change a correct plan so that the plan breaks a rule.

    Attributes:
        rule: name of the rule.
        label: a short description of the change. The name of the test contains this description.
        type: type of the resource to change.
        edit: function that changes the first resource of the type `type`, or returns None to remove this resource.
        name: name of the resource in its module; None for a resource with any name.
        module: name of the module that contains the resource; None for a resource in any module.
    """

    rule: str
    label: str
    type: str
    edit: Edit
    name: str | None = None
    module: str | None = None

    def __str__(self) -> str:
        place = "".join(f".{part}" for part in (self.module, self.name) if part)
        return f"{self.rule}: {self.type}{place} {self.label}"

    def apply(self, plans: Sequence[Plan]) -> list[Plan]:
        """Return the plans, with the change in one plan.

        Raises:
            LookupError: no plan has a resource of this type, so the change breaks nothing.
        """
        for number, plan in enumerate(plans):
            for index, change in enumerate(plan.document["resource_changes"]):
                if self._concerns(change):
                    changes = list(plan.document["resource_changes"])
                    changes[index] = broken = copy.deepcopy(change)
                    edited = self.edit(replace(plan, document={**plan.document, "resource_changes": changes}), broken)
                    if edited is None:
                        del changes[index]
                        edited = replace(plan, document={**plan.document, "resource_changes": changes})
                    return [*plans[:number], edited, *plans[number + 1 :]]
        raise LookupError(f"no {self.type} in the plans")

    def _concerns(self, change: Change) -> bool:
        is_type = change["mode"] == "managed" and change["type"] == self.type and self.name in (None, change["name"])
        return is_type and (self.module is None or f"module.{self.module}." in change["address"])


def _parent(values: Any, path: str) -> tuple[Any, Any]:
    """Return the container and the key at the end of a dotted path, and create missing containers."""
    *way, last = path.split(".")
    for part in way:
        if isinstance(values, list):
            values = values[int(part)]
        else:
            if values.get(part) in (None, True, False):
                values[part] = {}
            values = values[part]
    return values, int(last) if isinstance(values, list) else last


def value(path: str, wrong: Any) -> Edit:
    """Return an edit that sets an attribute to a wrong value."""

    def edit(plan: Plan, change: Change) -> Plan:
        container, key = _parent(change["change"]["after"], path)
        container[key] = wrong
        change["change"]["after_unknown"].pop(path.split(".", maxsplit=1)[0], None)
        return plan

    return edit


def reference(path: str, *references: str) -> Edit:
    """Return an edit that makes an attribute unknown at plan, with `references` as its only references."""

    def edit(plan: Plan, change: Change) -> Plan:
        top = path.split(".", maxsplit=1)[0]
        change["change"]["after"].pop(top, None)
        change["change"]["after_unknown"][top] = True
        configuration = copy.deepcopy(plan.document["configuration"])
        edited = replace(plan, document={**plan.document, "configuration": configuration})
        resource = next(r for r in edited.resources(change["type"]) if r.address == change["address"])
        block: Any = edited.block(resource)
        block.setdefault("expressions", {})[top] = {"references": list(references)}
        return edited

    return edit


def unknown(path: str) -> Edit:
    """Return an edit that makes an attribute unknown at plan, with a reference that leads to no resource."""
    return reference(path, "local.something")


def removed(_plan: Plan, _change: Change) -> None:
    """Remove the resource."""


def rules(
    rule: str, type: str, path: str, *wrong: Any, name: str | None = None, module: str | None = None
) -> list[Breakage]:
    """List a breakage for each wrong value of an attribute, and a breakage with the unknown attribute."""
    breakages = [Breakage(rule, f"{path} = {bad!r}", type, value(path, bad), name, module) for bad in wrong]
    return [*breakages, Breakage(rule, f"{path} unknown", type, unknown(path), name, module)]


def without(rule: str, type: str, name: str | None = None, module: str | None = None) -> list[Breakage]:
    return [Breakage(rule, "missing", type, removed, name, module)]


def referring(rule: str, type: str, path: str, *references: str, name: str | None = None) -> list[Breakage]:
    edit = reference(path, *references)
    return [Breakage(rule, f"{path} -> {', '.join(references)}", type, edit, name), *rules(rule, type, path, name=name)]


_OPEN_TRUST = '{"Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"*"}}]}'
_EVERYTHING = '{"Statement":[{"Sid":"All","Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::x"}]}'
_EVERYWHERE = '{"Statement":[{"Sid":"Read","Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
_ALARM = "aws_cloudwatch_metric_alarm"
_EVERY_USER = (
    '{"Statement":[{"Sid":"A","Effect":"Allow","Action":"rds-db:connect","Resource":"arn:aws:rds-db:x:1:dbuser:*/*"}]}'
)
_LIMITS_SOME = [
    {"statement": [{"rate_based_statement": [{"scope_down_statement": [{"geo_match_statement": [{}]}]}]}]},
    *[{"statement": [{"managed_rule_group_statement": [{"name": name}]}]} for name in ("a", "b")],
]


def _allows(**statement: Any) -> Change:
    return {"action": [{"allow": [{}]}], "statement": [statement]}


def _on_header(name: str, pattern: str) -> list[Change]:
    return [{"field_to_match": [{"single_header": [{"name": name}]}], "regex_string": pattern}]


_OPEN_TO_THIEVES = {
    "a rule for all paths": _allows(regex_match_statement=[{"field_to_match": [{"uri_path": [{}]}]}]),
    "a pattern for the start of operations": _allows(
        regex_match_statement=_on_header("x-amzn-cognito-operation-name", "^(GetUser|Set)")
    ),
    "a pattern for another header": _allows(regex_match_statement=_on_header("x-amz-target", "^(GetUser)$")),
    "a path with an operation": _allows(
        and_statement=[{"statement": [{"regex_match_statement": [{"field_to_match": [{"uri_path": [{}]}]}]}]}]
    ),
    "a rule that blocks": {
        "action": [{"allow": []}],
        "statement": [{"regex_match_statement": _on_header("x-amzn-cognito-operation-name", "^(GetUser)$")}],
    },
}
_ENCRYPTS_ALL = '{"Statement":[{"Sid":"A","Effect":"Allow","Action":"kms:Encrypt","Resource":"arn:x"}]}'
_MASTER = '{"Statement":[{"Sid":"A","Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"arn:x"}]}'
_WRITER = '{"Statement":[{"Sid":"A","Effect":"Allow","Action":"dynamodb:PutItem","Resource":"arn:x:table/players"}]}'
_PASSES = {"GAMESERVER_DISTRIBUTION_PASSES": "passes"}
_PASS = "the_distribution_proves_itself_to_the_api"
_TO_API = {"path_pattern": "/v2/*", "target_origin_id": "api", "function_association": []}
_FOREIGN_KEY = "arn:aws:kms:sa-east-1:123456789012:key/mrk-0"

BREAKAGES: list[Breakage] = [
    *rules("three_zones_in_every_tier_and_a_gateway_in_each", "aws_subnet", "tags.Tier", "other"),
    *rules("three_zones_in_every_tier_and_a_gateway_in_each", "aws_subnet", "availability_zone", "us-east-1b"),
    *without("three_zones_in_every_tier_and_a_gateway_in_each", "aws_nat_gateway"),
    *rules("tasks_roll_back_and_stay_private", "aws_ecs_service", "deployment_circuit_breaker.0.enable", False),
    *rules("tasks_roll_back_and_stay_private", "aws_ecs_service", "deployment_circuit_breaker.0.rollback", False),
    *rules("tasks_roll_back_and_stay_private", "aws_ecs_service", "availability_zone_rebalancing", "DISABLED", None),
    *rules("tasks_roll_back_and_stay_private", "aws_ecs_service", "network_configuration.0.assign_public_ip", True),
    *referring(
        "tasks_roll_back_and_stay_private", "aws_ecs_service", "network_configuration", "var.network.public_subnet_ids"
    ),
    *rules("the_fleet_scales_on_sessions", "aws_appautoscaling_target", "min_capacity", 2, 1000),
    *rules("the_fleet_scales_on_sessions", "aws_appautoscaling_target", "max_capacity", 1),
    *without("the_fleet_scales_on_sessions", "aws_appautoscaling_policy", "players"),
    *rules("target_groups_check_health_and_drain", "aws_lb_target_group", "health_check.0.path", "", None, "/readyz"),
    *rules("target_groups_check_health_and_drain", "aws_lb_target_group", "health_check.0.enabled", False),
    *rules("target_groups_check_health_and_drain", "aws_lb_target_group", "health_check.0.interval", 60),
    *rules("target_groups_check_health_and_drain", "aws_lb_target_group", "deregistration_delay", "10", None),
    *rules("a_rolling_deploy_ends_within_ten_minutes", "aws_lb_target_group", "deregistration_delay", "300", None),
    *rules("a_rolling_deploy_ends_within_ten_minutes", "aws_lb_target_group", "health_check.0.interval", 120),
    *rules("a_rolling_deploy_ends_within_ten_minutes", "aws_ecs_service", "deployment_maximum_percent", 125),
    *rules("target_groups_check_health_and_drain", "aws_lb_target_group", "name", "a" * 33),
    *rules(
        "regions_are_maintained_on_different_days",
        "aws_rds_cluster",
        "preferred_maintenance_window",
        "wed:04:00-wed:05:00",
        None,
    ),
    *rules(
        "regions_are_maintained_on_different_days",
        "aws_elasticache_replication_group",
        "maintenance_window",
        "wed:05:00-wed:06:00",
        None,
    ),
    *rules("connections_to_game_servers_are_encrypted", "aws_lb_target_group", "protocol", "HTTP"),
    *rules("connections_to_game_servers_are_encrypted", "aws_lb_target_group", "health_check.0.protocol", "HTTP"),
    *rules(
        "connections_to_game_servers_are_encrypted",
        "aws_vpc_security_group_ingress_rule",
        "from_port",
        8080,
        name="peers",
    ),
    *rules("load_balancers_fit_websockets_and_are_protected", "aws_lb", "idle_timeout", 40),
    *rules("load_balancers_fit_websockets_and_are_protected", "aws_lb", "enable_deletion_protection", False, None),
    *rules("load_balancers_fit_websockets_and_are_protected", "aws_lb", "drop_invalid_header_fields", False, None),
    *rules("load_balancers_fit_websockets_and_are_protected", "aws_lb", "access_logs.0.enabled", False),
    *referring("load_balancers_fit_websockets_and_are_protected", "aws_lb", "access_logs", "var.name"),
    *rules(
        "players_are_served_over_tls_1_2", "aws_lb_listener", "ssl_policy", "ELBSecurityPolicy-2016-08", name="https"
    ),
    *rules("players_are_served_over_tls_1_2", "aws_lb_listener", "protocol", "HTTP", name="https"),
    *rules("players_are_served_over_tls_1_2", "aws_lb_listener", "default_action.0.type", "forward", name="http"),
    *rules(
        "players_are_served_over_tls_1_2",
        "aws_cloudfront_distribution",
        "viewer_certificate.0.minimum_protocol_version",
        "TLSv1",
        None,
    ),
    *rules(
        "players_are_served_over_tls_1_2",
        "aws_cloudfront_distribution",
        "default_cache_behavior.0.viewer_protocol_policy",
        "allow-all",
    ),
    *rules(
        "players_are_served_over_tls_1_2",
        "aws_apigatewayv2_domain_name",
        "domain_name_configuration.0.security_policy",
        "TLS_1_0",
    ),
    *[
        breakage
        for module in ("firewall", "identity_firewall")
        for breakage in (
            *without("every_entry_has_a_firewall", "aws_wafv2_web_acl_association", module=module),
            *without("every_entry_has_a_firewall", "aws_wafv2_web_acl_logging_configuration", module=module),
            *rules("every_entry_has_a_firewall", "aws_wafv2_web_acl", "scope", "CLOUDFRONT_", module=module),
            *rules("every_entry_has_a_firewall", "aws_wafv2_web_acl", "rule", [], module=module),
        )
    ],
    Breakage(
        "every_entry_has_a_firewall",
        "a limit for some requests",
        "aws_wafv2_web_acl",
        value("rule", _LIMITS_SOME),
        module="firewall",
    ),
    *rules(
        "every_entry_has_a_firewall",
        "aws_wafv2_web_acl",
        "default_action",
        [{"allow": [{}], "block": []}],
        module="identity_firewall",
    ),
    *[
        Breakage(
            "every_entry_has_a_firewall", label, "aws_wafv2_web_acl", value("rule", [wrong]), module="identity_firewall"
        )
        for label, wrong in _OPEN_TO_THIEVES.items()
    ],
    *referring("every_entry_has_a_firewall", "aws_cloudfront_distribution", "web_acl_id", "var.name"),
    *rules("tables_are_backed_up_and_encrypted", "aws_dynamodb_table", "point_in_time_recovery.0.enabled", False),
    *rules("tables_are_backed_up_and_encrypted", "aws_dynamodb_table", "server_side_encryption.0.enabled", False),
    *rules(
        "tables_are_backed_up_and_encrypted", "aws_dynamodb_table", "server_side_encryption.0.kms_key_arn", _FOREIGN_KEY
    ),
    *rules("tables_are_backed_up_and_encrypted", "aws_dynamodb_table", "deletion_protection_enabled", False, None),
    *rules("tables_are_backed_up_and_encrypted", "aws_dynamodb_table", "ttl.0.enabled", False),
    *rules("tables_are_backed_up_and_encrypted", "aws_dynamodb_table_replica", "point_in_time_recovery", False, None),
    *rules("tables_are_backed_up_and_encrypted", "aws_dynamodb_table_replica", "kms_key_arn", _FOREIGN_KEY, None),
    *rules("tables_are_backed_up_and_encrypted", "aws_dynamodb_table_replica", "deletion_protection_enabled", False),
    *without("tables_are_backed_up_and_encrypted", "aws_dynamodb_table_replica"),
    *rules(
        "the_cache_fails_over_and_is_encrypted", "aws_elasticache_replication_group", "multi_az_enabled", False, None
    ),
    *rules(
        "the_cache_fails_over_and_is_encrypted",
        "aws_elasticache_replication_group",
        "automatic_failover_enabled",
        False,
    ),
    *rules("the_cache_fails_over_and_is_encrypted", "aws_elasticache_replication_group", "num_cache_clusters", 1),
    *rules(
        "the_cache_fails_over_and_is_encrypted",
        "aws_elasticache_replication_group",
        "replicas_per_node_group",
        0,
        module="state",
    ),
    *rules(
        "the_cache_fails_over_and_is_encrypted",
        "aws_elasticache_replication_group",
        "at_rest_encryption_enabled",
        "false",
    ),
    *rules(
        "the_cache_fails_over_and_is_encrypted", "aws_elasticache_replication_group", "kms_key_id", None, _FOREIGN_KEY
    ),
    *rules(
        "the_cache_fails_over_and_is_encrypted",
        "aws_elasticache_replication_group",
        "transit_encryption_enabled",
        False,
    ),
    *rules("the_cache_fails_over_and_is_encrypted", "aws_elasticache_replication_group", "snapshot_retention_limit", 0),
    *rules("the_cache_fails_over_and_is_encrypted", "aws_elasticache_replication_group", "apply_immediately", False),
    *rules(
        "the_cache_fails_over_and_is_encrypted",
        "aws_elasticache_replication_group",
        "replication_group_id",
        "arena-prod",
    ),
    *referring(
        "the_cache_fails_over_and_is_encrypted", "aws_elasticache_replication_group", "user_group_ids", "var.name"
    ),
    *rules(
        "the_cache_fails_over_and_is_encrypted",
        "aws_elasticache_user",
        "authentication_mode.0.type",
        "password",
        name="iam",
    ),
    *rules(
        "the_cache_fails_over_and_is_encrypted", "aws_elasticache_user", "access_string", "on ~* +@all", name="default"
    ),
    *rules(
        "the_state_store_runs_in_cluster_mode",
        "aws_elasticache_replication_group",
        "cluster_mode",
        "compatible",
        "disabled",
        module="state",
    ),
    *rules(
        "the_state_store_runs_in_cluster_mode",
        "aws_elasticache_replication_group",
        "num_node_groups",
        0,
        module="state",
    ),
    *rules(
        "the_state_store_runs_in_cluster_mode",
        "aws_elasticache_replication_group",
        "parameter_group_name",
        "default.redis7.cluster.on",
        module="state",
    ),
    *rules(
        "the_state_store_runs_in_cluster_mode",
        "aws_elasticache_parameter_group",
        "parameter",
        [],
        [{"name": "cluster-enabled", "value": "yes"}, {"name": "maxmemory-policy", "value": "volatile-lru"}],
        [{"name": "maxmemory-policy", "value": "noeviction"}],
        module="state",
    ),
    *without("databases_fail_over_and_are_protected", "aws_rds_cluster_instance"),
    *rules("databases_fail_over_and_are_protected", "aws_rds_cluster_instance", "publicly_accessible", True, None),
    *rules("databases_fail_over_and_are_protected", "aws_rds_cluster_instance", "availability_zone"),
    *rules(
        "databases_fail_over_and_are_protected", "aws_rds_cluster_instance", "performance_insights_kms_key_id", None
    ),
    *rules("databases_fail_over_and_are_protected", "aws_rds_cluster", "storage_encrypted", False),
    *rules("databases_fail_over_and_are_protected", "aws_rds_cluster", "kms_key_id", None, _FOREIGN_KEY),
    *rules("databases_fail_over_and_are_protected", "aws_rds_cluster", "deletion_protection", False, None),
    *rules("databases_fail_over_and_are_protected", "aws_rds_cluster", "backup_retention_period", 1),
    *rules("databases_fail_over_and_are_protected", "aws_rds_cluster", "skip_final_snapshot", True),
    *rules("databases_fail_over_and_are_protected", "aws_rds_cluster", "final_snapshot_identifier", None),
    *rules("databases_fail_over_and_are_protected", "aws_rds_cluster", "enabled_cloudwatch_logs_exports", [], None),
    *rules("databases_fail_over_and_are_protected", "aws_rds_cluster_parameter_group", "parameter", []),
    *rules("databases_fail_over_and_are_protected", "aws_rds_cluster", "iam_database_authentication_enabled", False),
    *rules("only_migrations_are_the_master_user", "aws_iam_policy", "policy", _EVERY_USER, _MASTER, name="function"),
    *without("only_migrations_are_the_master_user", "aws_iam_policy", name="function"),
    *[
        Breakage("the_api_is_reached_through_the_firewall", f"variables {wrong}", "aws_lambda_function", edit)
        for wrong, edit in (
            ("without networks", value("environment", [{"variables": {"GAMESERVER_REGION": "eu-west-1"}}])),
            ("with an empty list", value("environment", [{"variables": {"GAMESERVER_EDGE_NETWORKS": "", **_PASSES}}])),
            ("without passes", value("environment", [{"variables": {"GAMESERVER_EDGE_NETWORKS": "192.0.2.0/24"}}])),
        )
    ],
    *without("the_api_is_reached_through_the_firewall", "aws_lambda_function"),
    *rules("the_api_is_reached_through_the_firewall", "aws_iam_policy", "policy", _ENCRYPTS_ALL, name="operator"),
    *rules("the_backup_task_only_reads", "aws_iam_policy", "policy", _EVERY_USER, _WRITER, name="task"),
    *without("the_backup_task_only_reads", "aws_iam_policy", name="task"),
    *rules(_PASS, "aws_cloudfront_distribution", "ordered_cache_behavior", [_TO_API]),
    *rules(_PASS, "aws_cloudfront_distribution", "ordered_cache_behavior.0.function_association", []),
    *rules(_PASS, "aws_cloudfront_distribution", "default_cache_behavior.0.target_origin_id", "api"),
    *rules(_PASS, "aws_cloudfront_distribution", "origin", []),
    *rules(_PASS, "aws_cloudfront_function", "publish", False),
    *referring(_PASS, "aws_cloudfront_function", "key_value_store_associations", "var.name"),
    *rules("the_global_database_has_two_regions", "aws_rds_global_cluster", "storage_encrypted", False),
    *rules("the_global_database_has_two_regions", "aws_rds_global_cluster", "deletion_protection", False),
    *referring("queues_have_dead_letter_queues", "aws_sqs_queue", "redrive_policy", "var.name", name="queue"),
    *rules("queues_have_dead_letter_queues", "aws_sqs_queue", "visibility_timeout_seconds", 30, name="queue"),
    *rules("queues_have_dead_letter_queues", "aws_sqs_queue", "message_retention_seconds", 1209600, name="queue"),
    *referring(
        "functions_keep_failed_events_and_reserve_concurrency", "aws_lambda_function", "dead_letter_config", "var.name"
    ),
    *rules(
        "functions_keep_failed_events_and_reserve_concurrency",
        "aws_lambda_function",
        "reserved_concurrent_executions",
        -1,
        0,
    ),
    *rules(
        "functions_keep_failed_events_and_reserve_concurrency",
        "aws_lambda_event_source_mapping",
        "function_response_types",
        [],
    ),
    *rules("messages_logs_and_objects_are_encrypted", "aws_sns_topic", "kms_master_key_id", None, "alias/aws/sns"),
    *rules("messages_logs_and_objects_are_encrypted", "aws_sqs_queue", "kms_master_key_id", None, _FOREIGN_KEY),
    *rules("messages_logs_and_objects_are_encrypted", "aws_cloudwatch_log_group", "kms_key_id", None),
    *rules("messages_logs_and_objects_are_encrypted", "aws_secretsmanager_secret", "kms_key_id", None),
    *rules("messages_logs_and_objects_are_encrypted", "aws_lambda_function", "kms_key_arn", None),
    *without("messages_logs_and_objects_are_encrypted", "aws_s3_bucket_server_side_encryption_configuration"),
    *rules(
        "buckets_are_private_versioned_and_tls_only", "aws_s3_bucket_public_access_block", "block_public_acls", False
    ),
    *rules(
        "buckets_are_private_versioned_and_tls_only", "aws_s3_bucket_public_access_block", "block_public_policy", None
    ),
    *rules(
        "buckets_are_private_versioned_and_tls_only",
        "aws_s3_bucket_public_access_block",
        "restrict_public_buckets",
        False,
    ),
    *without("buckets_are_private_versioned_and_tls_only", "aws_s3_bucket_public_access_block"),
    *rules(
        "buckets_are_private_versioned_and_tls_only",
        "aws_s3_bucket_versioning",
        "versioning_configuration.0.status",
        "Suspended",
    ),
    *rules("buckets_are_private_versioned_and_tls_only", "aws_s3_bucket_policy", "policy", _EVERYWHERE),
    *rules("keys_rotate_and_are_replicated", "aws_kms_key", "enable_key_rotation", False, None, module="keys"),
    *rules("keys_rotate_and_are_replicated", "aws_kms_key", "deletion_window_in_days", 1),
    *without("keys_rotate_and_are_replicated", "aws_kms_replica_key"),
    *rules("roles_are_precise", "aws_iam_policy", "policy", _EVERYTHING, _EVERYWHERE),
    *rules("roles_are_precise", "aws_iam_role", "assume_role_policy", _OPEN_TRUST),
    *rules("roles_are_precise", "aws_iam_role", "inline_policy", [{"name": "all", "policy": _EVERYTHING}]),
    *rules("logs_have_a_retention", "aws_cloudwatch_log_group", "retention_in_days", 0, None),
    *rules("backups_are_copied_and_locked", "aws_backup_vault", "kms_key_arn", None),
    *without("backups_are_copied_and_locked", "aws_backup_vault_lock_configuration"),
    *rules("backups_are_copied_and_locked", "aws_backup_plan", "rule.0.copy_action", []),
    *rules(
        "backups_are_copied_and_locked",
        "aws_backup_plan",
        "rule.0.copy_action.0.destination_vault_arn",
        "arn:aws:backup:us-east-1:123456789012:backup-vault:here",
    ),
    *without("backups_are_copied_and_locked", "aws_backup_plan"),
    *without("backups_are_copied_and_locked", "aws_backup_vault", "copy"),
    *rules(
        "players_are_sent_to_healthy_regions",
        "aws_route53_record",
        "alias.0.evaluate_target_health",
        False,
        name="play",
    ),
    *rules("players_are_sent_to_healthy_regions", "aws_route53_record", "health_check_id", None, name="api"),
    *rules(
        "players_are_sent_to_healthy_regions",
        "aws_globalaccelerator_endpoint_group",
        "health_check_interval_seconds",
        60,
    ),
    *rules(
        "players_are_sent_to_healthy_regions", "aws_globalaccelerator_endpoint_group", "health_check_protocol", None
    ),
    *rules(
        "players_are_sent_to_healthy_regions",
        "aws_globalaccelerator_endpoint_group",
        "health_check_path",
        "/readyz",
        None,
    ),
    *rules("players_are_sent_to_healthy_regions", "aws_globalaccelerator_endpoint_group", "threshold_count", 10),
    *rules("every_alarm_has_an_action", "aws_cloudwatch_metric_alarm", "alarm_actions", [], None),
    *without("every_alarm_has_an_action", "aws_cloudwatch_metric_alarm"),
    *without("every_alarm_has_an_action", "aws_sns_topic_policy"),
    *rules("every_alarm_has_an_action", "aws_sns_topic_policy", "policy", _OPEN_TRUST),
    *rules("every_alarm_uses_a_metric_that_aws_publishes", _ALARM, "namespace", "AWS/Dynamo", name="alarm"),
    *rules("every_alarm_uses_a_metric_that_aws_publishes", _ALARM, "metric_name", "5XXError", name="alarm"),
    *[
        Breakage(
            "every_alarm_uses_a_metric_that_aws_publishes",
            f"dimensions = {wrong}",
            _ALARM,
            value("dimensions", wrong),
            "alarm",
        )
        for wrong in ({"ApiName": "arena-prod"}, {"ApiId": "a", "LoadBalancer": "b"}, {}, None)
    ],
    *rules(
        "every_alarm_uses_a_metric_that_aws_publishes",
        "aws_cloudwatch_log_metric_filter",
        "metric_transformation.0.name",
        "ReusedIds",
        name="event_ids_reused",
    ),
    *rules(
        "every_alarm_uses_a_metric_that_aws_publishes",
        "aws_cloudwatch_log_metric_filter",
        "metric_transformation.0.dimensions",
        {"Region": "$.region"},
        name="event_ids_reused",
    ),
    *without("every_alarm_uses_a_metric_that_aws_publishes", "aws_cloudwatch_log_metric_filter", "event_ids_reused"),
    *rules("every_alarm_uses_a_metric_that_aws_publishes", _ALARM, "tags.Dimensions", "ApiName", None, name="alarm"),
    *rules(
        "every_alarm_uses_a_metric_that_aws_publishes",
        _ALARM,
        "alarm_description",
        "Runbook: docs/runbooks.md, other",
        None,
        name="alarm",
    ),
    *rules(
        "every_alarm_uses_a_metric_that_aws_publishes",
        _ALARM,
        "metric_query.0.expression",
        "SELECT MAX(AuroraGlobalDBReplicationLag) FROM \"AWS/RDS\" WHERE DBInstanceIdentifier = 'a'",
        "SELECT MAX(AuroraGlobalLag) FROM \"AWS/RDS\" WHERE DBClusterIdentifier = 'a'",
        "m1 + m2",
        name="region_lag",
    ),
    *rules("players_accounts_are_protected", "aws_cognito_user_pool", "mfa_configuration", "OFF", None),
    *rules(
        "players_accounts_are_protected", "aws_cognito_user_pool", "user_pool_add_ons.0.advanced_security_mode", "OFF"
    ),
    *rules("players_accounts_are_protected", "aws_cognito_user_pool", "deletion_protection", "INACTIVE", None),
    *rules("players_accounts_are_protected", "aws_cognito_user_pool", "password_policy.0.minimum_length", 8),
    *rules(
        "players_accounts_are_protected",
        "aws_cognito_user_pool",
        "email_configuration.0.email_sending_account",
        "COGNITO_DEFAULT",
    ),
    *rules(
        "players_accounts_are_protected",
        "aws_cognito_user_pool_client",
        "explicit_auth_flows",
        ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_USER_PASSWORD_AUTH"],
    ),
    *rules("players_accounts_are_protected", "aws_cognito_user_pool_client", "generate_secret", True),
    *rules("players_accounts_are_protected", "aws_cognito_user_pool_client", "write_attributes", None, ["email"]),
    *rules(
        "players_accounts_are_protected",
        "aws_cognito_user_pool",
        "admin_create_user_config.0.allow_admin_create_user_only",
        False,
        None,
    ),
    *rules(
        "players_accounts_are_protected",
        "aws_cognito_user_pool",
        "account_recovery_setting.0.recovery_mechanism.0.name",
        "verified_email",
    ),
]
