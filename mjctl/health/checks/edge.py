"""What stands between players and servers: gateway, certificate, firewall, content delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from mjctl.clients.dns import region_dns
from mjctl.health.model import AWS_CHECK_SECONDS, Check, Finding, RegionContext, failed, passed, warned
from mjctl.models.check import Severity
from mjctl.models.contract import Contract, Managed
from mjctl.models.errors import ConfigError, NotFoundError


def checks(contract: Contract) -> Iterator[Check]:
    if contract.managed is None:
        return
    yield Check("gateway", check_gateway, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    yield Check("certificate", check_certificate, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    yield Check("firewall", check_firewall, AWS_CHECK_SECONDS)
    yield Check("dns", check_dns, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    if contract.region == contract.managed.primary_region:
        # One distribution for all regions: one of them answers for it.
        yield Check("cdn", check_cdn, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)


async def check_gateway(context: RegionContext) -> Finding:
    """The HTTP API has routes, and a stage on which they are deployed."""
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
        return failed(f"the API answers nobody: {missing}", hint=f"`mjctl deploy {scope}` puts it back", **evidence)
    return passed(f"{len(routes['Items'])} routes on stage {', '.join(deployed)}", **evidence)


async def check_certificate(context: RegionContext) -> Finding:
    """Issued, in use, and not about to end; ACM renews by itself as long as the validation records stand."""
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
        "ACM renews it while its validation records are in the hosted zone: "
        f"`mjctl deploy --env {context.contract.environment} --all-regions` puts them back"
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
    """The load balancer stands behind the web ACL of its stack, and that has rules."""
    managed = _managed(context)
    answer = await context.clients.call("wafv2", "get_web_acl_for_resource", ResourceArn=managed.load_balancer)
    acl: dict[str, Any] = answer.get("WebACL") or {}
    evidence: dict[str, object] = {"web_acl": acl.get("ARN"), "rules": len(acl.get("Rules", ()))}
    hint = f"`mjctl deploy --env {context.contract.environment} --region {context.contract.region}` puts it back"
    if not acl:
        return failed("the load balancer stands in the open: no web ACL is associated", hint=hint, **evidence)
    if acl["ARN"] != managed.web_acl:
        return failed(f"another web ACL is in its place: {acl.get('Name')}", hint=hint, **evidence)
    if not acl.get("Rules"):
        return failed(f"{acl.get('Name')} has no rules", hint=hint, **evidence)
    return passed(f"{acl.get('Name')} with {len(acl['Rules'])} rules before the load balancer", **evidence)


async def check_cdn(context: RegionContext) -> Finding:
    """The distribution of the game's own name is deployed, enabled and behind a web ACL."""
    domain = _managed(context).web_domain
    found = await _distribution(context, domain)
    deploy = f"`mjctl deploy --env {context.contract.environment} --all-regions` brings up the stack `edge`"
    if found is None:
        return failed(f"no distribution serves {domain}", hint=deploy)
    evidence: dict[str, object] = {
        "distribution": found["Id"],
        "status": found["Status"],
        "enabled": found["Enabled"],
        "web_acl": found.get("WebACLId"),
    }
    if not found["Enabled"]:
        return failed(f"{found['Id']} is disabled: {domain} is not served", hint=deploy, **evidence)
    if not found.get("WebACLId"):
        return failed(f"{found['Id']} has no web ACL", hint=deploy, **evidence)
    if found["Status"] != "Deployed":
        return warned(f"{found['Id']}: a change is on its way to the edges", hint="it takes minutes", **evidence)
    return passed(f"{domain} is served by {found['Id']}", **evidence)


async def check_dns(context: RegionContext) -> Finding:
    """Route 53 names the region to players, and its alarm decides that."""
    contract = context.contract
    scope = f"--env {contract.environment} --region {contract.region}"
    restore = f"`mjctl failover {scope} --restore` lets its alarm decide again"
    try:
        dns = await region_dns(contract, _managed(context), context.clients)
    except NotFoundError as error:
        # The stack `edge` comes after the regions, so a new region is checked before it has a health check.
        return warned(error.what, hint=error.hint or "", named=None)
    evidence = {name: value for name, value in dns.to_json().items() if name not in ("region", "summary")}
    if dns.inverted and not dns.lasting:
        again = f"`mjctl failover {scope}` keeps it out whatever its alarm says; {restore}"
        # An older mjctl, or a person, has inverted the health check: the region comes back when its alarm fires.
        return (failed if dns.named else warned)(dns.summary, hint=again, **evidence)
    if not dns.automatic:
        return warned(dns.summary, hint=restore, **evidence)
    if dns.named is False:
        return failed(dns.summary, hint="the checks `service` and `targets` say why the alarm fires", **evidence)
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
            "the contract names nothing that AWS runs",
            hint=f"`mjctl deploy --env {context.contract.environment} --region {context.contract.region}` "
            "publishes it again",
        )
    return context.contract.managed
