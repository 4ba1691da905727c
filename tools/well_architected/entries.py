"""Defines the rules of production about the entries that players use: names, firewalls, the API and accounts."""

from __future__ import annotations

import json
import re
from typing import Any

from tools.plan_model import Plan
from tools.well_architected.rules import (
    Plans,
    Report,
    at_least,
    at_most,
    every,
    refers,
    regional,
    rule,
    statements,
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
