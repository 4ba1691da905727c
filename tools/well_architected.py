"""The rules that production is held to, each over the plans of a whole environment.

A rule looks at plans that make everything anew and reports every place that breaks it. It holds only where a value is
known to be right, or where a reference is known to lead to the right resource: what is UNKNOWN never passes. A rule
that found nothing to look at fails too.

Sources in brackets: AWS Well-Architected, reliability (REL) and security (SEC); its Games Industry Lens (GAMEREL).
"""

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
    """What one rule found: how many places it looked at, and the broken ones."""

    looked_at: int = 0
    broken: list[str] = field(default_factory=list)

    def expect(self, holds: object, place: Resource | Plan, what: str) -> None:
        self.looked_at += 1
        if holds is not True:
            name = f"{place.plan.name}: {place.address}" if isinstance(place, Resource) else place.name
            self.broken.append(f"{name}: {what}")


Rule = Callable[[Plans, Report], None]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    RULES[function.__name__] = function
    return function


def every(plans: Plans, *types: str) -> Iterator[Resource]:
    return (resource for plan in plans for resource in plan.resources(*types))


def regional(plans: Plans) -> list[Plan]:
    return [plan for plan in plans if plan.name.startswith("region")]


def customer_key(resource: Resource, attribute: str) -> bool:
    """Whether a key of this account, in the resource's own region, is known to be named."""
    value = resource.get(attribute)
    if isinstance(value, str):
        region = resource.plan.provider_region(resource)
        return re.fullmatch(rf"arn:aws:kms:{region}:\d{{12}}:key/[\w-]+", value) is not None
    return value is UNKNOWN and bool(resource.origins(attribute)) and resource.origins(attribute) <= {"keys.arns"}


def refers(resource: Resource, path: str, *origins: str) -> bool:
    """Whether a value that is yet to come is known to come from `origins` and nothing else."""
    coming = any(resource.get(place) is UNKNOWN for place in (path, f"{path}.0"))
    return coming and resource.origins(path) == set(origins)


def at_least(value: object, bound: float) -> bool:
    return isinstance(value, int | float) and value >= bound


def at_most(value: object, bound: float) -> bool:
    return isinstance(value, int | float) and value <= bound


def statements(resource: Resource, attribute: str = "policy") -> list[dict[str, Any]] | None:
    """Statements of a policy as {actions, resources, sid, effect, ...}; None when they are not known."""
    policy = resource.get(attribute)
    if isinstance(policy, str):
        return [_statement(statement) for statement in _as_list(json.loads(policy)["Statement"])]
    prefix = "data.aws_iam_policy_document."
    names = {origin.removeprefix(prefix) for origin in resource.origins(attribute) if origin.startswith(prefix)}
    for document in resource.plan.documents():
        # A document of `for_each` belongs to the resource of the same key; a single one to all.
        if document.module == resource.module and document.name in names and document.key in (resource.key, None):
            return _known_statements(document)
    return None


def _known_statements(document: Resource) -> list[dict[str, Any]] | None:
    if document.get("statement") is UNKNOWN:
        return None
    found = []
    for index, statement in enumerate(document.get("statement", [])):
        part = {name: document.get(f"statement.{index}.{name}") for name in ("actions", "resources", "effect", "sid")}
        unknown_items = [
            document.get(f"statement.{index}.{name}.{i}") is UNKNOWN
            for name in ("actions", "resources")
            for i in range(len(statement.get(name) or []))
        ]
        if any(value is UNKNOWN for value in part.values()) or any(unknown_items):
            return None
        found.append({**part, "effect": part["effect"] or "Allow", "conditions": statement.get("condition") or []})
    return found


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


@rule
def three_zones_in_every_tier_and_a_gateway_in_each(plans: Plans, report: Report) -> None:
    """[REL-10]"""
    for plan in regional(plans):
        subnets = plan.resources("aws_subnet")
        for tier in ("public", "private", "data"):
            zones = {s.get("availability_zone") for s in subnets if s.get("tags.Tier") == tier}
            report.expect(UNKNOWN not in zones and len(zones) >= 3, plan, f"tier {tier} has fewer than three zones")
        zones = {s.key for s in subnets if s.get("tags.Tier") == "private"}
        gateways = {g.key for g in plan.resources("aws_nat_gateway")}
        report.expect(gateways == zones, plan, "a zone has no NAT gateway of its own")


@rule
def tasks_roll_back_and_stay_private(plans: Plans, report: Report) -> None:
    """[SEC-5, REL-8]"""
    for service in every(plans, "aws_ecs_service"):
        report.expect(service.get("deployment_circuit_breaker.0.enable"), service, "no circuit breaker")
        report.expect(service.get("deployment_circuit_breaker.0.rollback"), service, "no rollback")
        report.expect(service.get("availability_zone_rebalancing") == "ENABLED", service, "zones are not rebalanced")
        report.expect(service.get("network_configuration.0.assign_public_ip") is False, service, "public address")
        private = refers(service, "network_configuration.0.subnets", "network.private_subnet_ids")
        report.expect(private, service, "not in the private subnets")


@rule
def the_fleet_scales_on_sessions(plans: Plans, report: Report) -> None:
    """[REL-7, GAMEREL01]"""
    for plan in regional(plans):
        zones = len({s.key for s in plan.resources("aws_subnet") if s.get("tags.Tier") == "private"})
        policies = plan.resources("aws_appautoscaling_policy")
        for target in plan.resources("aws_appautoscaling_target"):
            report.expect(at_least(target.get("min_capacity"), zones), target, "minimum is below the number of zones")
            report.expect(
                target.get("max_capacity") > target.get("min_capacity"), target, "maximum is not above minimum"
            )
        metrics = [
            p.get("target_tracking_scaling_policy_configuration.0.customized_metric_specification.0.metric_name")
            for p in policies
        ]
        report.expect("PlayersPerTask" in metrics, plan, "nothing scales on players")


@rule
def target_groups_check_health_and_drain(plans: Plans, report: Report) -> None:
    """[REL-6, REL-11] 120 s is the longest that Fargate waits for a stopping container (`stopTimeout`)."""
    for group in every(plans, "aws_lb_target_group"):
        report.expect(str(group.get("health_check.0.path", "")).startswith("/"), group, "no path for the health check")
        report.expect(group.get("health_check.0.enabled"), group, "health check is off")
        report.expect(at_most(group.get("health_check.0.interval"), 30), group, "health check is slower than 30 s")
        delay = group.get("deregistration_delay")
        report.expect(isinstance(delay, str) and int(delay) >= 120, group, "drains for less than the stop timeout")
        report.expect(isinstance(group.get("name"), str) and len(group.get("name")) <= 32, group, "name is too long")


@rule
def load_balancers_fit_websockets_and_are_kept(plans: Plans, report: Report) -> None:
    """[REL-10, SEC-9.3, SEC-4.2] Servers ping every 20 s."""
    for balancer in every(plans, "aws_lb"):
        report.expect(at_least(balancer.get("idle_timeout"), 2 * 20 + 1), balancer, "idle timeout is within two pings")
        report.expect(balancer.get("enable_deletion_protection"), balancer, "no deletion protection")
        report.expect(balancer.get("drop_invalid_header_fields"), balancer, "keeps invalid headers")
        report.expect(balancer.get("access_logs.0.enabled"), balancer, "no access logs")
        report.expect(refers(balancer, "access_logs.0.bucket", "bucket.id"), balancer, "logs go to no bucket of ours")


_TLS_POLICIES = {"ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"}


@rule
def players_are_served_over_tls_1_2(plans: Plans, report: Report) -> None:
    """[SEC-9.3]"""
    for listener in every(plans, "aws_lb_listener"):
        if listener.get("protocol") == "HTTPS":
            report.expect(listener.get("ssl_policy") in _TLS_POLICIES, listener, "TLS policy is not one of 1.2 and 1.3")
        else:
            report.expect(listener.get("default_action.0.type") == "redirect", listener, "plain HTTP is answered")
            report.expect(
                listener.get("default_action.0.redirect.0.protocol") == "HTTPS", listener, "redirect is not to HTTPS"
            )
    for distribution in every(plans, "aws_cloudfront_distribution"):
        minimum = distribution.get("viewer_certificate.0.minimum_protocol_version")
        report.expect(minimum == "TLSv1.2_2021", distribution, "viewers may use less than TLS 1.2")
        behaviours = [*distribution.blocks("default_cache_behavior"), *distribution.blocks("ordered_cache_behavior")]
        policies = {behaviour["viewer_protocol_policy"] for behaviour in behaviours}
        report.expect(policies <= {"https-only", "redirect-to-https"}, distribution, "plain HTTP is answered")
    for domain in every(plans, "aws_apigatewayv2_domain_name"):
        policy = domain.get("domain_name_configuration.0.security_policy")
        report.expect(policy == "TLS_1_2", domain, "clients may use less than TLS 1.2")


@rule
def a_firewall_stands_before_every_entry(plans: Plans, report: Report) -> None:
    """[SEC-5.5, SEC-4.2]"""
    for plan in plans:
        guarded = plan.resources("aws_wafv2_web_acl_association")
        for balancer in plan.resources("aws_lb"):
            wanted = f"{balancer.module[-1]}.load_balancer"
            found = any(wanted in a.origins("resource_arn") for a in guarded)
            report.expect(found, balancer, "no web ACL stands before it")
        for distribution in plan.resources("aws_cloudfront_distribution"):
            report.expect(
                distribution.origins("web_acl_id") == {"firewall.arn"}, distribution, "no web ACL stands before it"
            )
        logged = {log.module for log in plan.resources("aws_wafv2_web_acl_logging_configuration")}
        for acl in plan.resources("aws_wafv2_web_acl"):
            report.expect(acl.module in logged, acl, "blocked requests are not logged")
            region = plan.provider_region(acl)
            wanted_region = "us-east-1" if acl.get("scope") == "CLOUDFRONT" else plan.region
            report.expect(acl.get("scope") in {"CLOUDFRONT", "REGIONAL"}, acl, "scope is not known")
            report.expect(region == wanted_region, acl, f"is made in {region}, belongs in {wanted_region}")
            rules = acl.blocks("rule")
            report.expect(any(r["statement"][0].get("rate_based_statement") for r in rules), acl, "no rate limit")
            managed = [r for r in rules if r["statement"][0].get("managed_rule_group_statement")]
            report.expect(len(managed) >= 2, acl, "no managed rules")


@rule
def tables_survive_and_are_encrypted(plans: Plans, report: Report) -> None:
    """[REL-9, SEC-8.3]"""
    for table in every(plans, "aws_dynamodb_table"):
        report.expect(table.get("point_in_time_recovery.0.enabled"), table, "no point in time recovery")
        report.expect(table.get("server_side_encryption.0.enabled"), table, "not encrypted with a customer key")
        report.expect(customer_key(table, "server_side_encryption.0.kms_key_arn"), table, "not a customer key")
        report.expect(table.get("deletion_protection_enabled"), table, "no deletion protection")
        report.expect(table.get("ttl.0.enabled"), table, "volatile items never leave")
    tables = list(every(plans, "aws_dynamodb_table"))
    for plan in regional(plans):
        replicas = plan.resources("aws_dynamodb_table_replica")
        for replica in replicas:
            report.expect(replica.get("point_in_time_recovery"), replica, "no point in time recovery")
            report.expect(customer_key(replica, "kms_key_arn"), replica, "not a customer key of its region")
            report.expect(replica.get("deletion_protection_enabled"), replica, "no deletion protection")
        if plan.region != tables[0].plan.region:
            keys = {replica.key for replica in replicas}
            report.expect(keys == {table.key for table in tables}, plan, "a table has no replica here")


@rule
def the_cache_fails_over_and_is_encrypted(plans: Plans, report: Report) -> None:
    """[GAMEREL02, SEC-8.3, SEC-9.3]"""
    for cache in every(plans, "aws_elasticache_replication_group"):
        report.expect(cache.get("multi_az_enabled"), cache, "one zone only")
        report.expect(cache.get("automatic_failover_enabled"), cache, "no failover")
        report.expect(at_least(cache.get("num_cache_clusters"), 2), cache, "no replica")
        report.expect(cache.get("at_rest_encryption_enabled") in ("true", True), cache, "not encrypted at rest")
        report.expect(customer_key(cache, "kms_key_id"), cache, "not a customer key")
        report.expect(cache.get("transit_encryption_enabled"), cache, "not encrypted on the wire")
        report.expect(at_least(cache.get("snapshot_retention_limit"), 1), cache, "no snapshots")
        name = cache.get("replication_group_id")
        report.expect(
            isinstance(name, str) and name.endswith(f"-{cache.plan.region}"), cache, "id does not end with the region"
        )
        groups = cache.origins("user_group_ids") == {"aws_elasticache_user_group.main"}
        report.expect(groups and len(_known_list(cache, "user_group_ids")) == 1, cache, "no access control")
    for user in every(plans, "aws_elasticache_user"):
        log_in = user.get("authentication_mode.0.type") == "iam"
        off = str(user.get("access_string", "")).startswith("off ")
        report.expect(log_in or off, user, "logs in without IAM")


@rule
def databases_fail_over_and_are_kept(plans: Plans, report: Report) -> None:
    """[REL-9, REL-10, SEC-8.3]"""
    for plan in regional(plans):
        instances = plan.resources("aws_rds_cluster_instance")
        zones = {i.get("availability_zone") for i in instances}
        report.expect(
            len(zones) >= 2 and all(isinstance(z, str) for z in zones), plan, "instances in fewer than two zones"
        )
        for instance in instances:
            report.expect(instance.get("publicly_accessible") is False, instance, "public")
            report.expect(customer_key(instance, "performance_insights_kms_key_id"), instance, "not a customer key")
    for cluster in every(plans, "aws_rds_cluster"):
        report.expect(cluster.get("storage_encrypted"), cluster, "not encrypted")
        report.expect(customer_key(cluster, "kms_key_id"), cluster, "not a customer key of its region")
        report.expect(cluster.get("deletion_protection"), cluster, "no deletion protection")
        report.expect(at_least(cluster.get("backup_retention_period"), 7), cluster, "backups end before seven days")
        report.expect(cluster.get("skip_final_snapshot") is False, cluster, "no final snapshot")
        report.expect(isinstance(cluster.get("final_snapshot_identifier"), str), cluster, "final snapshot has no name")
        report.expect("postgresql" in _known_list(cluster, "enabled_cloudwatch_logs_exports"), cluster, "no logs")
    for group in every(plans, "aws_rds_cluster_parameter_group"):
        forced = [p["value"] for p in group.blocks("parameter") if p["name"] == "rds.force_ssl"]
        report.expect(forced == ["1"], group, "TLS is not forced")


def _known_list(resource: Resource, path: str) -> list[Any]:
    value = resource.get(path, [])
    return list(value) if isinstance(value, list) else []


@rule
def databases_stand_in_two_regions(plans: Plans, report: Report) -> None:
    """[field practice]"""
    for cluster in every(plans, "aws_rds_global_cluster"):
        report.expect(cluster.get("storage_encrypted"), cluster, "not encrypted")
        report.expect(cluster.get("deletion_protection"), cluster, "no deletion protection")
    members = [c for c in every(plans, "aws_rds_cluster") if isinstance(c.get("global_cluster_identifier"), str)]
    report.expect(len({c.plan.region for c in members}) >= 2, plans[0], "the global cluster has fewer than two regions")


@rule
def queues_lead_to_dead_letters(plans: Plans, report: Report) -> None:
    """[field practice]"""
    for plan in regional(plans):
        queues = plan.resources("aws_sqs_queue")
        dead = {(q.module, q.key): q for q in queues if str(q.get("name")).endswith("-dlq")}
        timeouts = {f.key: f.get("timeout") for f in plan.resources("aws_lambda_function")}
        for queue in (q for q in queues if not str(q.get("name")).endswith("-dlq")):
            origins = queue.origins("redrive_policy")
            report.expect("aws_sqs_queue.dead_letter" in origins, queue, "leads to no dead-letter queue")
            letters = dead.get((queue.module, queue.key))
            longer = letters is not None and letters.get("message_retention_seconds") > queue.get(
                "message_retention_seconds"
            )
            report.expect(longer, queue, "its dead letters do not outlive it")
            timeout = timeouts.get(queue.key, UNKNOWN)
            enough = isinstance(timeout, int) and at_least(queue.get("visibility_timeout_seconds"), 6 * timeout)
            report.expect(enough, queue, "visible again before six times the function's timeout")


@rule
def functions_keep_what_failed_and_share_fairly(plans: Plans, report: Report) -> None:
    """[REL-1, REL-6]"""
    for function in every(plans, "aws_lambda_function"):
        letters = refers(function, "dead_letter_config.0.target_arn", "aws_sqs_queue.dead_letter")
        report.expect(letters, function, "no dead-letter queue")
        report.expect(at_least(function.get("reserved_concurrent_executions"), 1), function, "no reserved concurrency")
    for mapping in every(plans, "aws_lambda_event_source_mapping"):
        types = _known_list(mapping, "function_response_types")
        report.expect(types == ["ReportBatchItemFailures"], mapping, "one bad message fails its whole batch")


@rule
def messages_logs_and_objects_are_encrypted(plans: Plans, report: Report) -> None:
    """[SEC-8.3]"""
    for kind, attribute in (
        ("aws_sns_topic", "kms_master_key_id"),
        ("aws_sqs_queue", "kms_master_key_id"),
        ("aws_cloudwatch_log_group", "kms_key_id"),
        ("aws_secretsmanager_secret", "kms_key_id"),
        ("aws_lambda_function", "kms_key_arn"),
    ):
        for resource in every(plans, kind):
            report.expect(
                customer_key(resource, attribute), resource, "not encrypted with a customer key of its region"
            )
    for plan in plans:
        encrypted = {}
        for setting in plan.resources("aws_s3_bucket_server_side_encryption_configuration"):
            encrypted[setting.module] = setting.get("rule.0.apply_server_side_encryption_by_default.0.sse_algorithm")
        for bucket in plan.resources("aws_s3_bucket"):
            report.expect(encrypted.get(bucket.module) in ("AES256", "aws:kms"), bucket, "not encrypted")


@rule
def buckets_are_private_versioned_and_tls_only(plans: Plans, report: Report) -> None:
    """[SEC-3.7, SEC-8.4, SEC-9.3]"""
    for plan in plans:
        parts = {
            kind: {r.module: r for r in plan.resources(f"aws_s3_bucket_{kind}")}
            for kind in ("public_access_block", "versioning", "policy")
        }
        for bucket in plan.resources("aws_s3_bucket"):
            block, versions, policy = (parts[kind].get(bucket.module) for kind in parts)
            for name in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"):
                report.expect(block is not None and block.get(name), bucket, f"{name} is off")
            enabled = versions is not None and versions.get("versioning_configuration.0.status") == "Enabled"
            report.expect(enabled, bucket, "not versioned")
            report.expect(policy is not None and _denies_plain_http(policy), bucket, "answers without TLS")


def _denies_plain_http(policy: Resource) -> bool:
    return any(
        s["effect"] == "Deny" and s["actions"] == ["s3:*"] and "aws:SecureTransport" in json.dumps(s["conditions"])
        for s in statements(policy) or []
    )


@rule
def keys_rotate_and_are_replicated(plans: Plans, report: Report) -> None:
    """[field practice]"""
    for key in every(plans, "aws_kms_key"):
        report.expect(key.get("enable_key_rotation"), key, "does not rotate")
    for key in every(plans, "aws_kms_key", "aws_kms_replica_key"):
        report.expect(at_least(key.get("deletion_window_in_days"), 7), key, "can be gone within a week")
    primaries = {k.key for k in every(plans, "aws_kms_key") if k.get("multi_region") is True}
    home = next(every(plans, "aws_dynamodb_table")).plan.region
    for plan in regional(plans):
        if plan.region != home:
            replicas = {k.key for k in plan.resources("aws_kms_replica_key")}
            report.expect(replicas == primaries, plan, "a multi-region key has no replica here")


@rule
def roles_are_precise(plans: Plans, report: Report) -> None:
    """[SEC-3.2] A statement on `*` has an id that begins with `Waived`; the reason stands beside it in the module."""
    for forbidden in every(plans, "aws_iam_role_policy", "aws_iam_user_policy", "aws_iam_group_policy", "aws_iam_user"):
        report.expect(False, forbidden, "inline policies and users are not used")
    for role in every(plans, "aws_iam_role"):
        inline = "inline_policy" in role.plan.expressions(role) or isinstance(role.get("inline_policy"), list)
        report.expect(not inline, role, "inline policy")
        trusted = statements(role, "assume_role_policy")
        open_to_all = trusted is None or any('"*"' in json.dumps(s.get("principals", {})) for s in trusted)
        report.expect(not open_to_all, role, "trust is not known, or open to everybody")
    for policy in every(plans, "aws_iam_policy"):
        found = statements(policy)
        report.expect(found is not None and len(found) > 0, policy, "statements are not known at plan")
        for statement in found or []:
            actions, resources, sid = statement["actions"], statement["resources"], statement["sid"] or ""
            report.expect("*" not in actions and "*:*" not in actions, policy, f"{sid}: every action")
            everywhere = "*" in resources and statement["effect"] == "Allow"
            report.expect(
                not everywhere or sid.startswith("Waived"), policy, f"{sid}: every resource, without a waiver"
            )


@rule
def logs_end(plans: Plans, report: Report) -> None:
    """[SEC-4.2]"""
    for group in every(plans, "aws_cloudwatch_log_group"):
        report.expect(at_least(group.get("retention_in_days"), 1), group, "is kept for ever")


@rule
def backups_are_copied_and_locked(plans: Plans, report: Report) -> None:
    """[REL-9]"""
    for plan in regional(plans):
        vaults = plan.resources("aws_backup_vault")
        locked = {(lock.module, lock.name) for lock in plan.resources("aws_backup_vault_lock_configuration")}
        for vault in vaults:
            report.expect(customer_key(vault, "kms_key_arn"), vault, "not a customer key of its region")
            report.expect((vault.module, vault.name) in locked, vault, "not locked")
        plans_of_backup = plan.resources("aws_backup_plan")
        report.expect(len(plans_of_backup) >= 1, plan, "no backup plan")
        for backup in plans_of_backup:
            for index, part in enumerate(backup.blocks("rule")):
                targets = [
                    backup.get(f"rule.{index}.copy_action.{number}.destination_vault_arn")
                    for number in range(len(part.get("copy_action") or []))
                ]
                regions = {target.split(":")[3] for target in targets if isinstance(target, str)}
                report.expect(bool(regions - {plan.region}), backup, f"rule {index} copies to no other region")
        elsewhere = [vault for vault in vaults if plan.provider_region(vault) != plan.region]
        report.expect(len(elsewhere) >= 1, plan, "no vault for copies in another region")


@rule
def players_are_sent_to_healthy_regions(plans: Plans, report: Report) -> None:
    """[field practice] An alias of a distribution cannot evaluate health: CloudFront has none."""
    for record in every(plans, "aws_route53_record"):
        alias = record.blocks("alias")
        if not alias:
            continue
        to_distribution = "aws_cloudfront_distribution.web" in record.origins("alias.0.name")
        healthy = record.get("alias.0.evaluate_target_health")
        report.expect(to_distribution or healthy is True, record, "answers although its target is sick")
        if record.blocks("latency_routing_policy"):
            checked = refers(record, "health_check_id", "aws_route53_health_check.region")
            report.expect(checked, record, "no health check")
    for group in every(plans, "aws_globalaccelerator_endpoint_group"):
        report.expect(group.get("health_check_protocol") in ("HTTP", "HTTPS", "TCP"), group, "no health check")
        report.expect(
            at_most(group.get("health_check_interval_seconds"), 30), group, "health check is slower than 30 s"
        )
        report.expect(at_most(group.get("threshold_count"), 3), group, "a sick region is left late")


_ALARMED = {
    ("AWS/ApiGateway", "5xx"),
    ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"),
    ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count"),
    ("AWS/ApplicationELB", "UnHealthyHostCount"),
    ("AWS/Backup", "NumberOfBackupJobsCompleted"),
    ("AWS/DynamoDB", "ThrottledRequests"),
    ("AWS/ElastiCache", "Evictions"),
    ("AWS/ElastiCache", "ReplicationLag"),
    ("AWS/Lambda", "Errors"),
    ("AWS/Lambda", "Throttles"),
    ("AWS/RDS", "AuroraReplicaLagMaximum"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
}


@rule
def alarms_reach_somebody(plans: Plans, report: Report) -> None:
    """[REL-6]"""
    for plan in regional(plans):
        alarms = plan.resources("aws_cloudwatch_metric_alarm")
        watched = {(a.get("namespace"), a.get("metric_name")) for a in alarms}
        for namespace, metric in sorted(_ALARMED):
            report.expect((namespace, metric) in watched, plan, f"no alarm on {namespace} {metric}")
        queues = {q.get("name") for q in plan.resources("aws_sqs_queue") if str(q.get("name")).endswith("-dlq")}
        alarmed = {a.get("dimensions.QueueName") for a in alarms if a.get("threshold") == 0}
        report.expect(queues <= alarmed, plan, f"dead letters without an alarm: {queues - alarmed}")
    for alarm in every(plans, "aws_cloudwatch_metric_alarm"):
        report.expect(refers(alarm, "alarm_actions", "aws_sns_topic.alarms"), alarm, "tells nobody")


@rule
def players_accounts_are_protected(plans: Plans, report: Report) -> None:
    """[field practice]"""
    for pool in every(plans, "aws_cognito_user_pool"):
        report.expect(pool.get("mfa_configuration") in ("ON", "OPTIONAL"), pool, "no second factor")
        mode = pool.get("user_pool_add_ons.0.advanced_security_mode")
        report.expect(mode in ("ENFORCED", "AUDIT"), pool, "stolen passwords are not noticed")
        report.expect(pool.get("deletion_protection") == "ACTIVE", pool, "no deletion protection")
        report.expect(at_least(pool.get("password_policy.0.minimum_length"), 12), pool, "short passwords")


def check(name: str, plans: Plans) -> Report:
    """Run one rule; what it could not look at because it was unknown is a broken place, not an error."""
    report = Report()
    try:
        RULES[name](plans, report)
    except LookupError as unknown:
        report.broken.append(str(unknown))
    return report
