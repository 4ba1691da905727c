"""Checks the parts between players and servers: API gateway, certificate, firewall, DNS and content delivery."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from mjctl.clients.dns import region_dns
from mjctl.clients.firewall_tokens import expired, tokens
from mjctl.health.checks.http import look
from mjctl.health.model import AWS_CHECK_SECONDS, Check, Finding, RegionContext, failed, passed, warned
from mjctl.models.check import Severity
from mjctl.models.contract import Contract, Managed
from mjctl.models.errors import ConfigError, NotFoundError

_PREFIX_LIST = "com.amazonaws.global.cloudfront.origin-facing"


def checks(contract: Contract) -> Iterator[Check]:
    """Yield the checks of gateway, certificate, firewall, DNS and CloudFront, for a region on AWS."""
    if contract.managed is None:
        return
    yield Check("gateway", check_gateway, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    yield Check("certificate", check_certificate, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    yield Check("firewall", check_firewall, AWS_CHECK_SECONDS)
    yield Check("edge-networks", check_edge_networks, AWS_CHECK_SECONDS)
    yield Check("edge-pass", check_edge_pass, AWS_CHECK_SECONDS)
    yield Check("dns", check_dns, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    if contract.region == contract.managed.primary_region:
        # All regions share one CloudFront distribution, so only the primary region has a check of it.
        yield Check("cdn", check_cdn, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)


async def check_gateway(context: RegionContext) -> Finding:
    """Check that the HTTP API in API Gateway has routes and a stage on which the routes are deployed."""
    api = _managed(context).api_id
    stages, routes = await asyncio.gather(
        context.clients.call_all("apigatewayv2", "get_stages", ApiId=api),
        context.clients.call_all("apigatewayv2", "get_routes", ApiId=api),
    )
    deployed = [stage["StageName"] for stage in stages["Items"] if stage.get("AutoDeploy") or stage.get("DeploymentId")]
    evidence = {"api": api, "stages": deployed, "routes": len(routes["Items"])}
    if not deployed or not routes["Items"]:
        scope = f"--env {context.contract.environment} --region {context.contract.region}"
        missing = "no stage is deployed" if not deployed else "it has no routes"
        return failed(
            f"the HTTP API answers no request: {missing}",
            hint=f"`mjctl deploy {scope}` restores the HTTP API",
            **evidence,
        )
    return passed(f"{len(routes['Items'])} routes on stage {', '.join(deployed)}", **evidence)


async def check_certificate(context: RegionContext) -> Finding:
    """Check that ACM has issued the region's certificate, and that the certificate does not expire soon.

    ACM renews the certificate automatically while the validation records are in the hosted zone.
    """
    answer = await context.clients.call("acm", "describe_certificate", CertificateArn=_managed(context).certificate)
    certificate = answer["Certificate"]
    status, ends = certificate.get("Status"), certificate.get("NotAfter")
    renewal = certificate.get("RenewalSummary", {}).get("RenewalStatus")
    evidence: dict[str, object] = {
        "domain": certificate.get("DomainName"),
        "status": status,
        "not_after": str(ends),
        "renewal": renewal,
    }
    hint = (
        "ACM renews the certificate only while its validation records are in the hosted zone: "
        f"`mjctl deploy --env {context.contract.environment} --all-regions` restores the records"
    )
    if status != "ISSUED" or ends is None:
        return failed(f"the certificate is {status}", hint=hint, **evidence)
    days = (ends - datetime.now(UTC)).total_seconds() / 86_400
    evidence["days_left"] = round(days, 1)
    bounds = context.thresholds
    summary = f"{certificate.get('DomainName')}: {days:.0f} days left"
    if days <= bounds.certificate_days_fail or renewal == "FAILED":
        return failed(f"{summary}, renewal {renewal or 'not begun'}", hint=hint, **evidence)
    if days <= bounds.certificate_days_warn:
        return warned(f"{summary}, renewal {renewal or 'not begun'}", hint=hint, **evidence)
    return passed(summary, **evidence)


async def check_firewall(context: RegionContext) -> Finding:
    """Check that the region's web ACL protects the load balancer, has rules, and lets no ended load test pass."""
    managed = _managed(context)
    answer = await context.clients.call("wafv2", "get_web_acl_for_resource", ResourceArn=managed.load_balancer)
    acl: dict[str, Any] = answer.get("WebACL") or {}
    evidence: dict[str, object] = {"web_acl": acl.get("ARN"), "rules": len(acl.get("Rules", ()))}
    hint = (
        f"`mjctl deploy --env {context.contract.environment} --region {context.contract.region}` restores the firewall"
    )
    if not acl:
        return failed("no firewall protects the load balancer: it has no web ACL", hint=hint, **evidence)
    if acl["ARN"] != managed.web_acl:
        return failed(f"the load balancer has the wrong web ACL: {acl.get('Name')}", hint=hint, **evidence)
    if not acl.get("Rules"):
        return failed(f"the web ACL {acl.get('Name')} has no rules", hint=hint, **evidence)
    forgotten = expired(await tokens(context.clients, acl), time.time())
    if forgotten:
        return warned(
            f"expired tokens of killed load tests still pass the rate limit: {len(forgotten)}",
            hint=f"the next run of `mjctl loadtest --env {context.contract.environment} "
            f"--region {context.contract.region}` removes the tokens",
            expired_tokens=len(forgotten),
            **evidence,
        )
    return passed(f"{acl.get('Name')} protects the load balancer with {len(acl['Rules'])} rules", **evidence)


async def check_edge_networks(context: RegionContext) -> Finding:
    """Check that the functions of the API know all networks of CloudFront.

    The functions refuse players behind a network that AWS has added to its prefix list since the last deploy.
    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/LocationsOfEdgeServers.html
    """
    named = {"Name": "prefix-list-name", "Values": [_PREFIX_LIST]}
    listed = await context.clients.call_all("ec2", "describe_managed_prefix_lists", Filters=[named])
    pages = await asyncio.gather(
        *(
            context.clients.call_all("ec2", "get_managed_prefix_list_entries", PrefixListId=item["PrefixListId"])
            for item in listed["PrefixLists"]
        )
    )
    networks = {str(entry["Cidr"]) for page in pages for entry in page["Entries"]}
    functions = _managed(context).functions
    answering = [functions[purpose] for purpose in ("api", "auth") if purpose in functions]
    known = await asyncio.gather(*(_edge_networks(context, name) for name in answering))
    evidence: dict[str, object] = {"networks": len(networks), "functions": answering}
    hint = (
        f"`mjctl deploy --env {context.contract.environment} --region {context.contract.region}` gives the functions "
        "the networks of CloudFront"
    )
    open_functions = [name for name, own in zip(answering, known, strict=True) if not own]
    if open_functions:
        return warned(f"{', '.join(open_functions)} answers calls past CloudFront's firewall", hint=hint, **evidence)
    missing = sorted({network for own in known for network in networks - own})
    if missing:
        return failed(
            f"the API refuses players behind these networks of CloudFront: {', '.join(missing)}", hint=hint, **evidence
        )
    return passed(f"the functions know all networks of CloudFront: {len(networks)}", **evidence)


async def _edge_networks(context: RegionContext, function: str) -> set[str]:
    """Return the networks of CloudFront in the settings of a function."""
    return set(filter(None, (await _variable(context, function, "GAMESERVER_EDGE_NETWORKS")).split(",")))


async def _variable(context: RegionContext, function: str, name: str) -> str:
    """Return an environment variable of a function, or "" if the function does not have the variable."""
    configuration = await context.clients.call("lambda", "get_function_configuration", FunctionName=function)
    variables: dict[str, str] = configuration.get("Environment", {}).get("Variables", {})
    return variables.get(name, "")


async def check_edge_pass(context: RegionContext) -> Finding:
    """Check that the API requires the pass of the game's own distribution, and that the distribution sends the pass.

    Only a region to which Secrets Manager has copied the newest list of passes certainly accepts the pass of the
    distribution. A request to the game's domain shows that the nearest region accepts it.
    """
    managed, scope = _managed(context), f"--env {context.contract.environment}"
    functions = [managed.functions[purpose] for purpose in ("api", "auth") if purpose in managed.functions]
    names = [await _variable(context, name, "GAMESERVER_DISTRIBUTION_PASSES") for name in functions]
    evidence: dict[str, object] = {"functions": functions}
    hint = f"`mjctl deploy {scope} --all-regions` replaces the pass"
    open_functions = [function for function, name in zip(functions, names, strict=True) if not name]
    if open_functions or not names:
        return warned(
            f"{', '.join(open_functions) or 'the API'} answers calls of other distributions", hint=hint, **evidence
        )
    home = managed.primary_region
    secret = await context.clients.call_in(home, "secretsmanager", "describe_secret", SecretId=names[0])
    if not any("AWSCURRENT" in stages for stages in secret.get("VersionIdsToStages", {}).values()):
        return warned(
            "the API answers calls of other distributions, because the deploy of the edge has stored no pass yet",
            hint=hint,
            **evidence,
        )
    copies = {str(copy["Region"]): str(copy["Status"]) for copy in secret.get("ReplicationStatus", ())}
    status = "InSync" if context.contract.region == home else copies.get(context.contract.region, "missing")
    evidence["copy"] = status
    if status != "InSync":
        return failed(
            f"the API may refuse players, because the region's list of accepted passes is not current: {status}",
            hint=hint,
            **evidence,
        )
    if not context.contract.endpoints.served:
        return passed("the region has the current list of accepted passes", **evidence)
    return await _through_the_distribution(context, hint, evidence)


async def _through_the_distribution(context: RegionContext, hint: str, evidence: dict[str, object]) -> Finding:
    """Return whether the API answers a request to the game's domain, which has no operator's pass."""
    answer = await look(context, "CloudFront", f"https://{_managed(context).web_domain}/v1/leaderboard")
    evidence["http_status"] = answer.status
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    if answer.status == 403 and isinstance(error, dict) and error.get("code") == "forbidden":
        return failed("the API refuses players, because CloudFront sends no accepted pass", hint=hint, **evidence)
    if answer.status >= 400:
        return warned(
            f"a request through CloudFront got HTTP {answer.status}",
            hint=f"`mjctl health --env {context.contract.environment} --only cdn --only gateway` checks the parts of "
            "the way",
            **evidence,
        )
    return passed("the API accepts the pass of the distribution", **evidence)


async def check_cdn(context: RegionContext) -> Finding:
    """Check that the game's CloudFront distribution is deployed, enabled and protected by a web ACL."""
    domain = _managed(context).web_domain
    distribution = await _distribution(context, domain)
    deploy = (
        f"`mjctl deploy --env {context.contract.environment} --all-regions` restores the distribution, in the unit "
        "`edge`"
    )
    if distribution is None:
        return failed(f"no CloudFront distribution serves {domain}", hint=deploy)
    evidence: dict[str, object] = {
        "distribution": distribution["Id"],
        "status": distribution["Status"],
        "enabled": distribution["Enabled"],
        "web_acl": distribution.get("WebACLId"),
    }
    if not distribution["Enabled"]:
        return failed(
            f"the distribution {distribution['Id']} is disabled, so {domain} does not answer",
            hint=deploy,
            **evidence,
        )
    if not distribution.get("WebACLId"):
        return failed(f"the distribution {distribution['Id']} has no web ACL", hint=deploy, **evidence)
    if distribution["Status"] != "Deployed":
        return warned(
            f"CloudFront is still distributing a change of {distribution['Id']} to its edge locations",
            hint="CloudFront needs some minutes for a change: look again",
            **evidence,
        )
    return passed(f"{distribution['Id']} serves {domain}", **evidence)


async def check_dns(context: RegionContext) -> Finding:
    """Check that DNS sends players to the region, and that the region's alarm decides whether DNS does so."""
    contract = context.contract
    scope = f"--env {contract.environment} --region {contract.region}"
    restore = f"`mjctl failover {scope} --restore` lets the region's alarm decide again"
    try:
        dns = await region_dns(contract, _managed(context), context.clients)
    except NotFoundError as error:
        # A new region has no health check in Route 53 before the unit `edge` is deployed, which happens after the
        # regions.
        return warned(error.what, hint=error.hint or "", named=None)
    evidence = {name: value for name, value in dns.to_json().items() if name not in ("region", "summary")}
    if dns.inverted and not dns.lasting:
        again = f"`mjctl failover {scope}` keeps the region out of DNS in every state of its alarm; {restore}"
        # An older version of mjctl, or an operator, has inverted the region's health check in Route 53 without
        # disabling it. An inverted health check that is not disabled includes the region in DNS as soon as the region's
        # alarm fires.
        return (failed if dns.named else warned)(dns.summary, hint=again, **evidence)
    if not dns.automatic:
        return warned(dns.summary, hint=restore, **evidence)
    if dns.named is False:
        return failed(
            dns.summary,
            hint="follow the advice of the checks `service` and `targets`, which show why the alarm fires",
            **evidence,
        )
    return passed(dns.summary, **evidence)


async def _distribution(context: RegionContext, domain: str) -> dict[str, Any] | None:
    answer = await context.clients.call_all("cloudfront", "list_distributions")
    for item in answer.get("DistributionList", {}).get("Items", ()):
        if domain in item.get("Aliases", {}).get("Items", ()):
            return dict(item)
    return None


def _managed(context: RegionContext) -> Managed:
    if context.contract.managed is None:
        raise ConfigError(
            "the region's contract lacks the part `managed`, which names the resources on AWS",
            hint=f"`mjctl deploy --env {context.contract.environment} --region {context.contract.region}` "
            "publishes the contract again",
        )
    return context.contract.managed
