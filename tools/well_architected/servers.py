"""Defines the rules of production about game servers, their load balancers and the network between them."""

from __future__ import annotations

from tools.plan_model import UNKNOWN
from tools.rollout_time import rollout_seconds
from tools.well_architected.rules import Plans, Report, at_least, at_most, every, refers, regional, rule


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
        for_players = [permission.get("from_port") for permission in opened if permission.name == "load_balancer"]
        for link in (permission for permission in opened if permission.name == "peers"):
            known = isinstance(link.get("from_port"), int) and UNKNOWN not in for_players
            separate = known and link.get("from_port") not in for_players
            report.expect(separate, link, "the load balancer reaches the port for connections between servers")
