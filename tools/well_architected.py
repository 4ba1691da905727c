"""Defines the rules that production must obey, and checks them on the plans of a whole environment.

A rule reads plans that were made from an empty state, and reports every resource that breaks the rule. A resource
passes a rule only if the plan shows that a value is right, or that a reference leads to the right resource. A value
that is UNKNOWN never passes a rule. A rule that finds no resource to check fails too.

Docstrings name the source of a rule in brackets: the pillars reliability (REL) and security (SEC) of AWS
Well-Architected, and its Games Industry Lens (GAMEREL).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.cloudwatch_metrics import fault as published_fault
from tools.cloudwatch_metrics import query_fault
from tools.plan_model import UNKNOWN, Plan, Resource
from tools.rollout_time import rollout_seconds

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


@rule
def three_zones_in_every_tier_and_a_gateway_in_each(plans: Plans, report: Report) -> None:
    """Require subnets of every tier in three zones, and a NAT gateway in each zone [REL-10]."""
    for plan in regional(plans):
        subnets = plan.resources("aws_subnet")
        for tier in ("public", "private", "data"):
            zones = {s.get("availability_zone") for s in subnets if s.get("tags.Tier") == tier}
            report.expect(UNKNOWN not in zones and len(zones) >= 3, plan, f"tier {tier} has fewer than three zones")
        zones = {s.key for s in subnets if s.get("tags.Tier") == "private"}
        gateways = {g.key for g in plan.resources("aws_nat_gateway")}
        report.expect(gateways == zones, plan, "a zone has no NAT gateway")


@rule
def tasks_roll_back_and_stay_private(plans: Plans, report: Report) -> None:
    """Require a circuit breaker with rollback, zone rebalancing and private subnets for ECS services [SEC-5, REL-8]."""
    for service in every(plans, "aws_ecs_service"):
        report.expect(service.get("deployment_circuit_breaker.0.enable"), service, "no circuit breaker")
        report.expect(service.get("deployment_circuit_breaker.0.rollback"), service, "no rollback")
        report.expect(service.get("availability_zone_rebalancing") == "ENABLED", service, "zones are not rebalanced")
        report.expect(service.get("network_configuration.0.assign_public_ip") is False, service, "public address")
        private = refers(service, "network_configuration.0.subnets", "network.private_subnet_ids")
        report.expect(private, service, "not in the private subnets")


@rule
def the_fleet_scales_on_sessions(plans: Plans, report: Report) -> None:
    """Require a fleet that scales on players, with a task in each zone at least [REL-7, GAMEREL01]."""
    for plan in regional(plans):
        zones = len({s.key for s in plan.resources("aws_subnet") if s.get("tags.Tier") == "private"})
        policies = plan.resources("aws_appautoscaling_policy")
        for target in plan.resources("aws_appautoscaling_target"):
            report.expect(at_least(target.get("min_capacity"), zones), target, "minimum is below the number of zones")
            report.expect(
                target.get("max_capacity") > target.get("min_capacity"), target, "maximum is not above the minimum"
            )
        metrics = [
            p.get("target_tracking_scaling_policy_configuration.0.customized_metric_specification.0.metric_name")
            for p in policies
        ]
        report.expect("PlayersPerTask" in metrics, plan, "no scaling policy uses the number of players")


@rule
def target_groups_check_health_and_drain(plans: Plans, report: Report) -> None:
    """Require health checks, and time to move matches before players are cut, for target groups [REL-6, REL-11].

    The path `/readyz` is forbidden: the path fails while the state store fails over, and ECS replaces the task of each
    unhealthy target.
    """
    for group in every(plans, "aws_lb_target_group"):
        path = str(group.get("health_check.0.path", ""))
        report.expect(path.startswith("/"), group, "no path for the health check")
        report.expect(path != "/readyz", group, "a failover of the state store would replace all servers")
        report.expect(group.get("health_check.0.enabled"), group, "health check is off")
        report.expect(at_most(group.get("health_check.0.interval"), 30), group, "health check is slower than 30 s")
        delay = group.get("deregistration_delay")
        report.expect(isinstance(delay, str) and int(delay) >= 20, group, "cuts players before their matches move")
        report.expect(isinstance(group.get("name"), str) and len(group.get("name")) <= 32, group, "name is too long")


@rule
def a_rolling_deploy_ends_within_ten_minutes(plans: Plans, report: Report) -> None:
    """Require settings with which ECS replaces 12 servers within 10 minutes, without a protection by mode [REL-8]."""
    for plan in regional(plans):
        for service in plan.resources("aws_ecs_service"):
            percent = service.get("deployment_maximum_percent")
            for group in plan.resources("aws_lb_target_group"):
                known = {
                    "deregistration": group.get("deregistration_delay"),
                    "interval": group.get("health_check.0.interval"),
                    "threshold": group.get("health_check.0.healthy_threshold"),
                    "percent": percent,
                }
                if any(value is UNKNOWN or value is None for value in known.values()):
                    report.expect(False, group, f"the duration of a deploy is not known: {known}")
                    continue
                seconds = rollout_seconds(
                    12,
                    maximum_percent=int(percent),
                    healthy_seconds=int(known["interval"]) * int(known["threshold"]),
                    deregistration_seconds=int(known["deregistration"]),
                )
                report.expect(seconds <= 600, group, f"a deploy of 12 servers takes up to {seconds:.0f} s")


@rule
def regions_are_maintained_on_different_days(plans: Plans, report: Report) -> None:
    """Require that AWS maintains databases and stores of two regions on different days [REL-10].

    AWS replaces or restarts nodes in a maintenance window. With the same day in all regions, the stores of every region
    would fail over in the same night.
    """
    days: dict[str, set[str]] = {}
    resources = []
    for resource in every(plans, "aws_rds_cluster", "aws_elasticache_replication_group"):
        window = resource.get("preferred_maintenance_window") or resource.get("maintenance_window")
        day = window.partition(":")[0] if isinstance(window, str) else ""
        days.setdefault(day, set()).add(resource.plan.region)
        resources.append((resource, day))
    for resource, day in resources:
        report.expect(day != "", resource, "has no maintenance window")
        report.expect(len(days[day]) == 1, resource, "is maintained on the same day as another region")


@rule
def load_balancers_fit_websockets_and_are_protected(plans: Plans, report: Report) -> None:
    """Require load balancers that suit WebSockets, keep access logs and cannot be deleted [REL-10, SEC-9.3, SEC-4.2].

    The idle timeout of a load balancer must exceed 40 s, because game servers send a WebSocket ping every 20 s.
    """
    for balancer in every(plans, "aws_lb"):
        report.expect(
            at_least(balancer.get("idle_timeout"), 2 * 20 + 1),
            balancer,
            "idle timeout is below two pings",
        )
        report.expect(balancer.get("enable_deletion_protection"), balancer, "no deletion protection")
        report.expect(balancer.get("drop_invalid_header_fields"), balancer, "does not drop invalid headers")
        report.expect(balancer.get("access_logs.0.enabled"), balancer, "no access logs")
        report.expect(
            refers(balancer, "access_logs.0.bucket", "bucket.id"),
            balancer,
            "access logs go elsewhere",
        )


_TLS_POLICIES = {"ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"}


@rule
def players_are_served_over_tls_1_2(plans: Plans, report: Report) -> None:
    """Require TLS 1.2 or 1.3 at the load balancer, the CDN and the API [SEC-9.3]."""
    for listener in every(plans, "aws_lb_listener"):
        if listener.get("protocol") == "HTTPS":
            report.expect(
                listener.get("ssl_policy") in _TLS_POLICIES,
                listener,
                "TLS policy is not for 1.2 and 1.3",
            )
        else:
            report.expect(listener.get("default_action.0.type") == "redirect", listener, "plain HTTP is not redirected")
            report.expect(
                listener.get("default_action.0.redirect.0.protocol") == "HTTPS", listener, "redirect is not to HTTPS"
            )
    for distribution in every(plans, "aws_cloudfront_distribution"):
        minimum = distribution.get("viewer_certificate.0.minimum_protocol_version")
        report.expect(minimum == "TLSv1.2_2021", distribution, "viewers may use less than TLS 1.2")
        behaviours = [*distribution.blocks("default_cache_behavior"), *distribution.blocks("ordered_cache_behavior")]
        policies = {behaviour["viewer_protocol_policy"] for behaviour in behaviours}
        report.expect(policies <= {"https-only", "redirect-to-https"}, distribution, "plain HTTP is not redirected")
    for domain in every(plans, "aws_apigatewayv2_domain_name"):
        policy = domain.get("domain_name_configuration.0.security_policy")
        report.expect(policy == "TLS_1_2", domain, "clients may use less than TLS 1.2")


@rule
def connections_to_game_servers_are_encrypted(plans: Plans, report: Report) -> None:
    """Require TLS from the load balancer to its targets, and a separate port for connections between servers [SEC-9.3].

    The game servers authenticate each other by certificates at the separate port. A load balancer has no certificate
    for its targets. The test of the module `game_service` checks the settings of the game servers, which are not known
    at plan.
    """
    for group in every(plans, "aws_lb_target_group"):
        report.expect(group.get("protocol") == "HTTPS", group, "players' frames are not encrypted")
        report.expect(group.get("health_check.0.protocol") == "HTTPS", group, "health checks are not encrypted")
    for plan in regional(plans):
        opened = plan.resources("aws_vpc_security_group_ingress_rule")
        for_players = [rule.get("from_port") for rule in opened if rule.name == "load_balancer"]
        for link in (rule for rule in opened if rule.name == "peers"):
            known = isinstance(link.get("from_port"), int) and UNKNOWN not in for_players
            separate = known and link.get("from_port") not in for_players
            report.expect(separate, link, "the load balancer reaches the port for connections between servers")


@rule
def every_entry_has_a_firewall(plans: Plans, report: Report) -> None:
    """Require a web ACL with logs for each load balancer, CDN and user pool [SEC-5.5, SEC-4.2].

    The web ACL of a load balancer or CDN has a rate limit and managed rules. The web ACL of a user pool blocks each
    operation that is not in its list.
    """
    for plan in plans:
        guarded = [(a.module, a.origins("resource_arn")) for a in plan.resources("aws_wafv2_web_acl_association")]
        entries = [
            *((balancer, "load_balancer") for balancer in plan.resources("aws_lb")),
            *((pool, "user_pool_arn") for pool in plan.resources("aws_cognito_user_pool")),
        ]
        for entry, output in entries:
            is_guarded = any(f"{entry.module[-1]}.{output}" in origins for _, origins in guarded)
            report.expect(is_guarded, entry, "has no web ACL")
        of_pools = {module for module, origins in guarded if any(o.endswith(".user_pool_arn") for o in origins)}
        for distribution in plan.resources("aws_cloudfront_distribution"):
            report.expect(distribution.origins("web_acl_id") == {"firewall.arn"}, distribution, "has no web ACL")
        logged = {log.module for log in plan.resources("aws_wafv2_web_acl_logging_configuration")}
        for acl in plan.resources("aws_wafv2_web_acl"):
            report.expect(acl.module in logged, acl, "blocked requests are not logged")
            region = plan.provider_region(acl)
            right_region = "us-east-1" if acl.get("scope") == "CLOUDFRONT" else plan.region
            report.expect(acl.get("scope") in {"CLOUDFRONT", "REGIONAL"}, acl, "scope is not known")
            report.expect(region == right_region, acl, f"is created in {region} and must be in {right_region}")
            rules = acl.blocks("rule")
            if acl.module in of_pools:
                report.expect(bool(acl.get("default_action.0.block")), acl, "does not block requests by default")
                report.expect(bool(rules) and all(_is_closed(r) for r in rules), acl, "lets thieves change accounts")
                continue
            report.expect(any(r["statement"][0].get("rate_based_statement") for r in rules), acl, "no rate limit")
            excepted = [s for r in rules for s in _excepted(r)]
            tokens = [s for s in excepted if "x-load-test" in json.dumps(s)]
            report.expect(excepted == tokens, acl, "the rate limit excepts more than load tests")
            managed = [r for r in rules if r["statement"][0].get("managed_rule_group_statement")]
            report.expect(len(managed) >= 2, acl, "no managed rules")


# Operations of Cognito with which a stranger or the thief of an access token could go round the API:
# https://docs.aws.amazon.com/cognito/latest/developerguide/authentication-flows-public-server-side.html
_CLOSED_OPERATIONS = (
    "ChangePassword",
    "ConfirmForgotPassword",
    "ConfirmSignUp",
    "DeleteUser",
    "DeleteUserAttributes",
    "ForgotPassword",
    "InitiateAuth",
    "ResendConfirmationCode",
    "RespondToAuthChallenge",
    "SetUserMFAPreference",
    "SetUserSettings",
    "SignUp",
    "UpdateUserAttributes",
)


def _is_closed(waf_rule: dict[str, Any]) -> bool:
    """Return whether a rule allows only operations by name, and none that goes round the API, or only requests without
    an operation."""
    [statement] = waf_rule["statement"]
    if not (waf_rule["action"] and waf_rule["action"][0]["allow"]):
        return False
    for part in statement.get("and_statement") or []:
        negations = [n for inner in part["statement"] for n in inner.get("not_statement") or []]
        return any(_operations(n["statement"][0]) == "." for n in negations)
    pattern = _operations(statement)
    return bool(pattern) and not any(re.search(pattern, operation) for operation in _CLOSED_OPERATIONS)


def _operations(statement: dict[str, Any]) -> str:
    """Return the pattern that a statement compares with the name of Cognito's operation, or an empty text."""
    for match in statement.get("regex_match_statement") or []:
        headers = match["field_to_match"][0].get("single_header") or []
        if [header["name"] for header in headers] == ["x-amzn-cognito-operation-name"]:
            return str(match["regex_string"])
    return ""


def _excepted(waf_rule: dict[str, Any]) -> list[Any]:
    """Return the statements by which the rate limit of a web ACL does not count each request."""
    limits = waf_rule["statement"][0].get("rate_based_statement") or []
    return [scope for limit in limits for scope in limit.get("scope_down_statement") or []]


@rule
def tables_are_backed_up_and_encrypted(plans: Plans, report: Report) -> None:
    """Require recovery, encryption, deletion protection and time to live for tables and replicas [REL-9, SEC-8.3]."""
    for table in every(plans, "aws_dynamodb_table"):
        report.expect(table.get("point_in_time_recovery.0.enabled"), table, "no point-in-time recovery")
        report.expect(table.get("server_side_encryption.0.enabled"), table, "not encrypted with a customer key")
        report.expect(customer_key(table, "server_side_encryption.0.kms_key_arn"), table, "not a customer key")
        report.expect(table.get("deletion_protection_enabled"), table, "no deletion protection")
        report.expect(table.get("ttl.0.enabled"), table, "no time to live")
    tables = list(every(plans, "aws_dynamodb_table"))
    for plan in regional(plans):
        replicas = plan.resources("aws_dynamodb_table_replica")
        for replica in replicas:
            report.expect(replica.get("point_in_time_recovery"), replica, "no point-in-time recovery")
            report.expect(customer_key(replica, "kms_key_arn"), replica, "not a customer key of its region")
            report.expect(replica.get("deletion_protection_enabled"), replica, "no deletion protection")
        if plan.region != tables[0].plan.region:
            keys = {replica.key for replica in replicas}
            report.expect(keys == {table.key for table in tables}, plan, "a table has no replica in this region")


@rule
def the_cache_fails_over_and_is_encrypted(plans: Plans, report: Report) -> None:
    """Require zones, failover, encryption, snapshots and log-in by IAM for the cache [GAMEREL02, SEC-8.3, SEC-9.3]."""
    for cache in every(plans, "aws_elasticache_replication_group"):
        report.expect(cache.get("multi_az_enabled"), cache, "one zone only")
        report.expect(cache.get("automatic_failover_enabled"), cache, "no failover")
        in_cluster_mode = cache.get("cluster_mode") == "enabled"
        nodes, fewest = ("replicas_per_node_group", 1) if in_cluster_mode else ("num_cache_clusters", 2)
        report.expect(at_least(cache.get(nodes), fewest), cache, "no replica")
        report.expect(cache.get("at_rest_encryption_enabled") in ("true", True), cache, "not encrypted at rest")
        report.expect(customer_key(cache, "kms_key_id"), cache, "not a customer key")
        report.expect(cache.get("transit_encryption_enabled"), cache, "not encrypted in transit")
        report.expect(at_least(cache.get("snapshot_retention_limit"), 1), cache, "no snapshots")
        # A node type that waits for the maintenance window would be reported as changed.
        report.expect(cache.get("apply_immediately") is True, cache, "changes wait for the maintenance window")
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
def the_state_store_runs_in_cluster_mode(plans: Plans, report: Report) -> None:
    """Require a state store in each region that can get more shards and never evicts a key [REL-7, GAMEREL02]."""
    for plan in regional(plans):
        groups = plan.resources("aws_elasticache_replication_group")
        stores = [group for group in groups if group.get("cluster_mode") == "enabled"]
        report.expect(len(stores) == 1, plan, f"{len(stores)} replication groups in cluster mode")
        for store in stores:
            report.expect(at_least(store.get("num_node_groups"), 1), store, "no shard")
            parameters = [
                {parameter["name"]: parameter["value"] for parameter in group.blocks("parameter")}
                for group in plan.resources("aws_elasticache_parameter_group")
                if group.get("name") == store.get("parameter_group_name")
            ]
            wanted = {"cluster-enabled": "yes", "maxmemory-policy": "noeviction"}
            report.expect(parameters == [wanted], store, "not in cluster mode, or evicts keys of matches")


@rule
def databases_fail_over_and_are_protected(plans: Plans, report: Report) -> None:
    """Require two zones, encryption, backups and deletion protection for databases [REL-9, REL-10, SEC-8.3]."""
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
        report.expect(at_least(cluster.get("backup_retention_period"), 7), cluster, "backups are kept for under 7 days")
        report.expect(cluster.get("skip_final_snapshot") is False, cluster, "no final snapshot")
        report.expect(isinstance(cluster.get("final_snapshot_identifier"), str), cluster, "final snapshot has no name")
        report.expect("postgresql" in _known_list(cluster, "enabled_cloudwatch_logs_exports"), cluster, "no logs")
        report.expect(cluster.get("iam_database_authentication_enabled"), cluster, "no log-in by IAM")
    for group in every(plans, "aws_rds_cluster_parameter_group"):
        forced = [p["value"] for p in group.blocks("parameter") if p["name"] == "rds.force_ssl"]
        report.expect(forced == ["1"], group, "TLS is not forced")


def _known_list(resource: Resource, path: str) -> list[Any]:
    value = resource.get(path, [])
    return list(value) if isinstance(value, list) else []


@rule
def only_migrations_are_the_master_user(plans: Plans, report: Report) -> None:
    """Require functions that log in to the database by IAM as their own user, except `migrate` [SEC-2.2, SEC-3.2]."""
    for plan in regional(plans):
        logging_in = set()
        for policy in (p for p in plan.resources("aws_iam_policy") if p.module == ("functions",)):
            for statement in statements(policy) or []:
                if "rds-db:connect" in statement["actions"] and policy.key != "migrate":
                    logging_in.add(policy.key)
                    own = all(str(resource).endswith("_app") for resource in statement["resources"])
                    report.expect(own, policy, "allows log-ins as another user of the database")
                reads = any(action.startswith("secretsmanager:Get") for action in statement["actions"])
                other = all(
                    ":secret:" in str(name) and "-distribution-passes-" in str(name) for name in statement["resources"]
                )
                allowed = not reads or other or policy.key == "migrate"
                report.expect(allowed, policy, "may read the master user's password")
        report.expect(logging_in == {"api", "persistence"}, plan, "a function does not log in to the database by IAM")


@rule
def the_api_is_reached_through_the_firewall(plans: Plans, report: Report) -> None:
    """Require functions that know CloudFront's networks, and passes that only operators can make [SEC-5]."""
    for plan in regional(plans):
        answering = {}
        for function in plan.resources("aws_lambda_function"):
            if str(function.get("handler")).endswith((".api", ".auth")):
                answering[function.key] = variables = function.get("environment.0.variables", {})
                # A plan knows the variables of `auth`, and not those of `api`, which name the stores of the region.
                known = isinstance(variables, dict) or function.key != "auth"
                for name in ("GAMESERVER_EDGE_NETWORKS", "GAMESERVER_DISTRIBUTION_PASSES"):
                    unlimited = isinstance(variables, dict) and not variables.get(name)
                    report.expect(
                        known and not unlimited, function, f"answers calls past CloudFront's firewall: no {name}"
                    )
        report.expect(set(answering) == {"api", "auth"}, plan, "a function of the API is missing")
        report.expect(_makes_passes(plan, report), plan, "operators cannot make passes")


@rule
def the_distribution_proves_itself_to_the_api(plans: Plans, report: Report) -> None:
    """Require a published function that writes the pass into each request of a distribution to the API [SEC-5]."""
    for distribution in every(plans, "aws_cloudfront_distribution"):
        origins = distribution.blocks("origin")
        apis = {origin["origin_id"] for origin in origins if origin.get("custom_origin_config")}
        report.expect(bool(apis), distribution, "no origin is the API")
        for kind in ("default_cache_behavior", "ordered_cache_behavior"):
            for number, behavior in enumerate(distribution.blocks(kind)):
                if behavior["target_origin_id"] in apis:
                    association = f"{kind}.{number}.function_association.0"
                    at_request = distribution.get(f"{association}.event_type") == "viewer-request"
                    proves = refers(distribution, f"{association}.function_arn", "aws_cloudfront_function.pass")
                    report.expect(at_request and proves, distribution, f"{kind} {number} sends no pass to the API")
    for function in every(plans, "aws_cloudfront_function"):
        stored = refers(function, "key_value_store_associations", "aws_cloudfront_key_value_store.pass")
        report.expect(stored, function, "does not read the pass from the key value store")
        report.expect(function.get("publish"), function, "not published")


def _makes_passes(plan: Plan, report: Report) -> bool:
    """Return whether operators may make passes, and report each policy that allows another use of the key."""
    allowed = False
    for policy in plan.resources("aws_iam_policy"):
        for statement in statements(policy) or []:
            if "kms:Encrypt" in statement["actions"]:
                limited = "kms:EncryptionContext:purpose" in json.dumps(statement["conditions"])
                report.expect(limited, policy, "allows the encryption of more than passes")
                allowed = allowed or policy.name == "operator"
    return allowed


@rule
def the_backup_task_only_reads(plans: Plans, report: Report) -> None:
    """Require a private backup task that changes scratch tables and its bucket only [SEC-3.2, SEC-5, REL-9]."""
    writes = re.compile(r"dynamodb:(?!Describe|List|Scan)")
    for plan in regional(plans):
        policies = plan.resources("aws_iam_policy")
        tasks = [policy for policy in policies if policy.module == ("backup_task",) and policy.name == "task"]
        report.expect(len(tasks) == 1, plan, "no role of a backup task")
        for policy in tasks:
            listed = statements(policy)
            report.expect(bool(listed), policy, "statements are not known at plan")
            for statement in listed or []:
                resources = [str(resource) for resource in statement["resources"]]
                if "rds-db:connect" in statement["actions"]:
                    own = all(resource.endswith("_backup") for resource in resources)
                    report.expect(own, policy, "allows log-ins as another user of the database")
                if any(writes.match(action) for action in statement["actions"]):
                    scratch = all("-scratch." in resource for resource in resources)
                    report.expect(scratch, policy, "may change tables of players")
                if any(action.startswith("s3:") for action in statement["actions"]):
                    own = all("-backups" in resource for resource in resources)
                    report.expect(own, policy, "may use another bucket than the bucket of backups")
        open_ports = [
            rule for rule in plan.resources("aws_vpc_security_group_ingress_rule") if rule.module == ("backup_task",)
        ]
        report.expect(not open_ports, plan, "the backup task accepts connections")
        settings = plan.resources("aws_s3_bucket_server_side_encryption_configuration")
        for setting in (setting for setting in settings if setting.module == ("backups",)):
            algorithm = setting.get("rule.0.apply_server_side_encryption_by_default.0.sse_algorithm")
            report.expect(algorithm == "aws:kms", setting, "portable backups are not encrypted with a customer key")


@rule
def the_global_database_has_two_regions(plans: Plans, report: Report) -> None:
    """Require an encrypted, protected global cluster with two regions [field practice]."""
    for cluster in every(plans, "aws_rds_global_cluster"):
        report.expect(cluster.get("storage_encrypted"), cluster, "not encrypted")
        report.expect(cluster.get("deletion_protection"), cluster, "no deletion protection")
    members = [c for c in every(plans, "aws_rds_cluster") if isinstance(c.get("global_cluster_identifier"), str)]
    report.expect(len({c.plan.region for c in members}) >= 2, plans[0], "the global cluster has fewer than two regions")


@rule
def queues_have_dead_letter_queues(plans: Plans, report: Report) -> None:
    """Require dead-letter queues with longer retention, and a long visibility timeout [field practice]."""
    for plan in regional(plans):
        queues = plan.resources("aws_sqs_queue")
        dead = {(q.module, q.key): q for q in queues if str(q.get("name")).endswith("-dlq")}
        timeouts = {f.key: f.get("timeout") for f in plan.resources("aws_lambda_function")}
        for queue in (q for q in queues if not str(q.get("name")).endswith("-dlq")):
            origins = queue.origins("redrive_policy")
            report.expect("aws_sqs_queue.dead_letter" in origins, queue, "has no dead-letter queue")
            dead_letters = dead.get((queue.module, queue.key))
            longer = dead_letters is not None and dead_letters.get("message_retention_seconds") > queue.get(
                "message_retention_seconds"
            )
            report.expect(longer, queue, "its dead-letter queue does not keep messages longer than the queue")
            timeout = timeouts.get(queue.key, UNKNOWN)
            enough = isinstance(timeout, int) and at_least(queue.get("visibility_timeout_seconds"), 6 * timeout)
            report.expect(enough, queue, "its visibility timeout is below six times the function's timeout")


@rule
def functions_keep_failed_events_and_reserve_concurrency(plans: Plans, report: Report) -> None:
    """Require dead-letter queues, reserved concurrency and partial batch failure of functions [REL-1, REL-6]."""
    for function in every(plans, "aws_lambda_function"):
        dead_letters = refers(function, "dead_letter_config.0.target_arn", "aws_sqs_queue.dead_letter")
        report.expect(dead_letters, function, "no dead-letter queue")
        report.expect(at_least(function.get("reserved_concurrent_executions"), 1), function, "no reserved concurrency")
    for mapping in every(plans, "aws_lambda_event_source_mapping"):
        types = _known_list(mapping, "function_response_types")
        report.expect(types == ["ReportBatchItemFailures"], mapping, "one bad message fails its whole batch")


@rule
def messages_logs_and_objects_are_encrypted(plans: Plans, report: Report) -> None:
    """Require customer keys for topics, queues, logs, secrets and functions, and encrypted buckets [SEC-8.3]."""
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
    """Require buckets without public access, with versions, and for TLS only [SEC-3.7, SEC-8.4, SEC-9.3]."""
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
            report.expect(policy is not None and _denies_plain_http(policy), bucket, "allows requests without TLS")


def _denies_plain_http(policy: Resource) -> bool:
    return any(
        s["effect"] == "Deny" and s["actions"] == ["s3:*"] and "aws:SecureTransport" in json.dumps(s["conditions"])
        for s in statements(policy) or []
    )


@rule
def keys_rotate_and_are_replicated(plans: Plans, report: Report) -> None:
    """Require rotation, at least a week before deletion, and a replica of each key in each region [field practice]."""
    for key in every(plans, "aws_kms_key"):
        # KMS does not rotate HMAC keys: https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html
        rotates = key.get("key_usage") == "GENERATE_VERIFY_MAC" or key.get("enable_key_rotation")
        report.expect(rotates, key, "does not rotate")
    for key in every(plans, "aws_kms_key", "aws_kms_replica_key"):
        report.expect(at_least(key.get("deletion_window_in_days"), 7), key, "can be deleted within a week")
    primaries = {k.key for k in every(plans, "aws_kms_key") if k.get("multi_region") is True}
    home = next(every(plans, "aws_dynamodb_table")).plan.region
    for plan in regional(plans):
        if plan.region != home:
            replicas = {k.key for k in plan.resources("aws_kms_replica_key")}
            report.expect(replicas == primaries, plan, "a multi-region key has no replica in this region")


@rule
def roles_are_precise(plans: Plans, report: Report) -> None:
    """Require policies that do not allow every action, and roles that do not trust every principal [SEC-3.2].

    A statement on the resource `*` must have an id that begins with `Waived`, and a comment in the module that gives
    the reason of the waiver.
    """
    for forbidden in every(plans, "aws_iam_role_policy", "aws_iam_user_policy", "aws_iam_group_policy", "aws_iam_user"):
        report.expect(False, forbidden, "inline policies and users are not used")
    for role in every(plans, "aws_iam_role"):
        inline = "inline_policy" in role.plan.expressions(role) or isinstance(role.get("inline_policy"), list)
        report.expect(not inline, role, "inline policy")
        trusted = statements(role, "assume_role_policy")
        open_to_all = trusted is None or any('"*"' in json.dumps(s.get("principals", {})) for s in trusted)
        report.expect(not open_to_all, role, "trust policy is not known, or allows every principal")
    for policy in every(plans, "aws_iam_policy"):
        listed = statements(policy)
        report.expect(listed is not None and len(listed) > 0, policy, "statements are not known at plan")
        for statement in listed or []:
            actions, resources, sid = statement["actions"], statement["resources"], statement["sid"] or ""
            report.expect("*" not in actions and "*:*" not in actions, policy, f"{sid}: every action")
            everywhere = "*" in resources and statement["effect"] == "Allow"
            report.expect(
                not everywhere or sid.startswith("Waived"), policy, f"{sid}: every resource, without a waiver"
            )


@rule
def logs_have_a_retention(plans: Plans, report: Report) -> None:
    """Require a retention for every log group [SEC-4.2]."""
    for group in every(plans, "aws_cloudwatch_log_group"):
        report.expect(at_least(group.get("retention_in_days"), 1), group, "has no retention")


@rule
def backups_are_copied_and_locked(plans: Plans, report: Report) -> None:
    """Require backups with copies in another region, in locked vaults with customer keys [REL-9]."""
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
    """Require DNS records and accelerator endpoints with health checks [field practice].

    An alias record of a CloudFront distribution is excepted, because Route 53 cannot evaluate a distribution's health.
    """
    for record in every(plans, "aws_route53_record"):
        alias = record.blocks("alias")
        if not alias:
            continue
        to_distribution = "aws_cloudfront_distribution.web" in record.origins("alias.0.name")
        healthy = record.get("alias.0.evaluate_target_health")
        report.expect(to_distribution or healthy is True, record, "does not evaluate the health of its target")
        if record.blocks("latency_routing_policy"):
            checked = refers(record, "health_check_id", "aws_route53_health_check.region")
            report.expect(checked, record, "no health check")
    for group in every(plans, "aws_globalaccelerator_endpoint_group"):
        report.expect(group.get("health_check_protocol") in ("HTTP", "HTTPS", "TCP"), group, "no health check")
        path = group.get("health_check_path")
        report.expect(isinstance(path, str) and path != "/readyz", group, "a failover of the state store excludes it")
        report.expect(
            at_most(group.get("health_check_interval_seconds"), 30), group, "health check is slower than 30 s"
        )
        report.expect(at_most(group.get("threshold_count"), 3), group, "an unhealthy region is excluded too late")


_RUNBOOKS = Path(__file__).parents[1] / "docs" / "runbooks.md"
# A word in capitals in the heading of a runbook stands for a node, a function, a queue or a table.
_PLACEHOLDER = re.compile(r"\b[A-Z]+\b")
_ALARMED = {
    ("AWS/ApiGateway", "5xx"),
    ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"),
    ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count"),
    ("AWS/ApplicationELB", "UnHealthyHostCount"),
    ("AWS/Backup", "NumberOfBackupJobsCompleted"),
    ("AWS/DynamoDB", "ReadThrottleEvents"),
    ("AWS/DynamoDB", "WriteThrottleEvents"),
    ("AWS/ElastiCache", "Evictions"),
    ("AWS/ElastiCache", "ReplicationLag"),
    ("AWS/Lambda", "Errors"),
    ("AWS/Lambda", "Throttles"),
    ("AWS/RDS", "AuroraReplicaLagMaximum"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
}


@rule
def every_alarm_has_an_action(plans: Plans, report: Report) -> None:
    """Require alarms on the metrics in `_ALARMED` and on dead-letter queues, each with a usable SNS topic [REL-6]."""
    for plan in regional(plans):
        alarms = plan.resources("aws_cloudwatch_metric_alarm")
        watched = {(a.get("namespace"), a.get("metric_name")) for a in alarms}
        for namespace, metric in sorted(_ALARMED):
            report.expect((namespace, metric) in watched, plan, f"no alarm on {namespace} {metric}")
        queues = {q.get("name") for q in plan.resources("aws_sqs_queue") if str(q.get("name")).endswith("-dlq")}
        alarmed = {a.get("dimensions.QueueName") for a in alarms if a.get("threshold") == 0}
        report.expect(queues <= alarmed, plan, f"dead-letter queues without an alarm: {queues - alarmed}")
    for alarm in every(plans, "aws_cloudwatch_metric_alarm"):
        report.expect(refers(alarm, "alarm_actions", "aws_sns_topic.alarms"), alarm, "has no SNS topic as its action")
    for plan in plans:
        allowed = {
            policy.module
            for policy in plan.resources("aws_sns_topic_policy")
            if refers(policy, "arn", "aws_sns_topic.alarms") and "cloudwatch.amazonaws.com" in str(policy.get("policy"))
        }
        for alarm in plan.resources("aws_cloudwatch_metric_alarm"):
            report.expect(alarm.module in allowed, alarm, "has a topic to which CloudWatch may not publish")


@rule
def every_alarm_uses_a_metric_that_aws_publishes(plans: Plans, report: Report) -> None:
    """Require metrics that AWS or a metric filter publishes, and a runbook for each alarm [REL-6]."""
    runbooks = [re.compile(_PLACEHOLDER.sub(lambda _: r"[\w-]+", name)) for name in _headings()]
    for alarm in every(plans, "aws_cloudwatch_metric_alarm"):
        queries = alarm.blocks("metric_query")
        for index, _ in enumerate(queries):
            expression = alarm.get(f"metric_query.{index}.expression")
            fault = query_fault(expression) if isinstance(expression, str) else "the query is not known at plan"
            report.expect(fault is None, alarm, str(fault))
        if not queries:
            fault = _fault_of_metric(alarm)
            report.expect(fault is None, alarm, str(fault))
        name = str(alarm.get("alarm_description")).removeprefix("Runbook: docs/runbooks.md, ")
        report.expect(any(page.fullmatch(name) for page in runbooks), alarm, f"docs/runbooks.md has no heading {name}")


def _fault_of_metric(alarm: Resource) -> str | None:
    """Return why AWS does not publish the metric of an alarm, or None if AWS publishes the metric.

    A tag of the alarm names the dimensions, because Terraform does not know the dimensions at plan if it does not know
    all their values. A metric filter of the plan publishes the metrics of other namespaces than AWS's.
    """
    namespace, name, dimensions = (alarm.get(key) for key in ("namespace", "metric_name", "dimensions"))
    keys = alarm.get("tags.Dimensions") if dimensions is UNKNOWN else " ".join(dimensions or {})
    if not all(isinstance(part, str) for part in (namespace, name, keys)):
        return "the metric is not known at plan"
    if (namespace, name, frozenset(keys.split())) in _filtered(alarm.plan):
        return None
    return published_fault(namespace, name, keys.split())


def _filtered(plan: Plan) -> set[tuple[Any, Any, frozenset[str]]]:
    """Return namespace, name and dimensions of the metrics that the metric filters of a plan publish."""
    parts = ("namespace", "name", "dimensions")
    metrics = (
        [resource.get(f"metric_transformation.0.{part}") for part in parts]
        for resource in plan.resources("aws_cloudwatch_log_metric_filter")
    )
    return {(namespace, name, frozenset(dimensions or ())) for namespace, name, dimensions in metrics}


def _headings() -> list[str]:
    return re.findall(r"^### (.*)$", _RUNBOOKS.read_text(encoding="utf-8"), re.M)


@rule
def players_accounts_are_protected(plans: Plans, report: Report) -> None:
    """Require a second factor, threat protection, long passwords, SES, accounts only by the API [field practice]."""
    for pool in every(plans, "aws_cognito_user_pool"):
        report.expect(pool.get("mfa_configuration") in ("ON", "OPTIONAL"), pool, "no second factor")
        mode = pool.get("user_pool_add_ons.0.advanced_security_mode")
        report.expect(mode in ("ENFORCED", "AUDIT"), pool, "no protection against stolen passwords")
        report.expect(pool.get("deletion_protection") == "ACTIVE", pool, "no deletion protection")
        report.expect(at_least(pool.get("password_policy.0.minimum_length"), 12), pool, "short passwords")
        sender = pool.get("email_configuration.0.email_sending_account")
        report.expect(sender == "DEVELOPER", pool, "sends at most 50 mails a day")
        closed = pool.get("admin_create_user_config.0.allow_admin_create_user_only") is True
        report.expect(closed, pool, "strangers can sign up at Cognito itself")
        recovery = pool.get("account_recovery_setting.0.recovery_mechanism.0.name")
        report.expect(recovery == "admin_only", pool, "strangers can reset passwords at Cognito itself")
    for client in every(plans, "aws_cognito_user_pool_client"):
        flows = client.get("explicit_auth_flows")
        report.expect(flows == ["ALLOW_ADMIN_USER_PASSWORD_AUTH"], client, "players can log in at Cognito itself")
        report.expect(client.get("generate_secret") is False, client, "its secret is in the state")
        report.expect(client.get("write_attributes") == ["locale"], client, "an access token can change the address")


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
