"""Reads the public domains of an environment: API Gateway's custom domains, CloudFront's domains and their aliases.

On AWS, a client reaches a custom domain by TLS only under two conditions, which the stage checks too. The API or the
distribution needs an issued certificate of ACM that covers the domain. A record of Route 53 must lead the domain to the
API or the distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# CloudFront uses only certificates that ACM has issued in us-east-1:
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cnames-and-https-requirements.html
_CLOUDFRONT_REGION = "us-east-1"
_LONGEST_CHAIN = 8


@dataclass(frozen=True)
class PublicDomain:
    """Describes a host name at which players and other clients reach an API or a distribution.

    Attributes:
        name: The host name in lower case.
        kind: `api` or `distribution`: the kind of the resource that answers.
        certificate: The names that the domain's certificate covers. A domain of CloudFront such as
            `d111111abcdef8.cloudfront.net` has CloudFront's certificate. A domain of an API and an alias have a
            certificate of ACM.
        region: The region of the API that answers; `us-east-1` for a distribution.
        distribution: The id of the distribution, or None for an API.
    """

    name: str
    kind: Literal["api", "distribution"]
    certificate: tuple[str, ...]
    region: str
    distribution: str | None = None


def covers(certificate: Sequence[str], name: str) -> bool:
    """Return whether a certificate covers a host name. As in browsers, `*` matches exactly one label of the name."""
    parent = name.partition(".")[2]
    return any(covered.lower() in (name, f"*.{parent}") for covered in certificate)


class Domains:
    """Finds the public domains of an account.

    `refresh` reads ministack's records. All methods except `refresh` use the records of the last `refresh`.
    """

    def __init__(self, account_id: str) -> None:
        self._account_id = account_id
        self._domains: dict[str, PublicDomain] = {}
        self._targets: dict[str, str] = {}

    def refresh(self) -> None:
        """Read ministack's records of domains and of Route 53."""
        records = list(_records(self._account_id))
        targets: dict[str, str] = {}
        # With latency records, Route 53 answers with the region that is nearest to the client. All regions of the stage
        # are on this machine, so use the first region by name that no health check excludes.
        for record in sorted(records, key=lambda record: (_is_excluded(record), record.get("Region") or "")):
            targets.setdefault(_host(record["Name"]), _target(record))
        domains = (*_distributions(self._account_id), *_api_domains(self._account_id, targets))
        self._targets, self._domains = targets, {domain.name: domain for domain in reversed(domains)}

    def find(self, host: str) -> PublicDomain | None:
        """Return the public domain with a host name, or None if the environment has no such domain."""
        return self._domains.get(host)

    def resolved(self, entrances: Callable[[str], str | None]) -> dict[str, str]:
        """Return the address of each host name that records of Route 53 lead to an API or a distribution.

        Args:
            entrances: Returns the address of a name that AWS has given to an API or a distribution, such as
                `d111111abcdef8.cloudfront.net`, or None for any other name.
        """
        addresses = {}
        for name in self._targets:
            target = name
            for _ in range(_LONGEST_CHAIN):
                target = self._targets.get(target, target)
            address = entrances(target)
            if address is not None:
                addresses[name] = address
        return addresses


def entrance_names(account_id: str) -> list[str]:
    """Return the host names that AWS gives to the environment's APIs, custom domains of APIs and distributions."""
    from ministack.services import apigateway, apigateway_v1, cloudfront

    defaults = [
        f"{identifier}.execute-api.{region}.amazonaws.com"
        for (account, region, identifier), api in list(apigateway._apis._data.items())
        if account == account_id and not api.get("disableExecuteApiEndpoint")
    ]
    regional = [
        str(record["regionalDomainName"]).lower()
        for key, record in list(apigateway_v1._domain_names._data.items())
        if key[0] == account_id
    ]
    distributions = [
        str(distribution["DomainName"]).lower()
        for key, distribution in list(cloudfront._distributions._data.items())
        if key[0] == account_id and distribution["enabled"]
    ]
    return [*defaults, *regional, *distributions]


def _api_domains(account_id: str, targets: dict[str, str]) -> Iterator[PublicDomain]:
    """Yield API Gateway's custom domains. If several regions have a domain, yield the region that Route 53 names."""
    from ministack.services import apigateway_v1

    chosen: dict[str, tuple[str, dict[str, Any]]] = {}
    for (account, region, name), record in list(apigateway_v1._domain_names._data.items()):
        if account == account_id and (
            name.lower() not in chosen or targets.get(name.lower()) == record["regionalDomainName"].lower()
        ):
            chosen[name.lower()] = (region, record)
    for name, (region, record) in chosen.items():
        arn = record.get("regionalCertificateArn") or record.get("certificateArn") or ""
        certificate = _certificate(account_id, region, arn)
        if covers(certificate, name):
            yield PublicDomain(name, "api", certificate, region)


def _distributions(account_id: str) -> Iterator[PublicDomain]:
    from ministack.services import cloudfront

    for (account, identifier), distribution in list(cloudfront._distributions._data.items()):
        if account != account_id or not distribution["enabled"]:
            continue
        own = distribution["DomainName"].lower()
        yield PublicDomain(own, "distribution", ("*.cloudfront.net",), _CLOUDFRONT_REGION, identifier)
        viewer = cloudfront._find(cloudfront._dist_config_el(distribution), "ViewerCertificate")
        arn = cloudfront._text(viewer, "ACMCertificateArn") if viewer is not None else ""
        certificate = _certificate(account_id, _CLOUDFRONT_REGION, arn or "")
        for alias in cloudfront._get_distribution_aliases(distribution):
            if covers(certificate, alias.lower()):
                yield PublicDomain(alias.lower(), "distribution", certificate, _CLOUDFRONT_REGION, identifier)


def _certificate(account_id: str, region: str, arn: str) -> tuple[str, ...]:
    """Return the names that a certificate of ACM covers, or () if ACM has not issued the certificate."""
    from ministack.services import acm

    certificate = acm._certificates._data.get((account_id, region, arn))
    if certificate is None or certificate.get("Status") != "ISSUED":
        return ()
    return tuple(dict.fromkeys([certificate["DomainName"], *certificate.get("SubjectAlternativeNames", [])]))


def _records(account_id: str) -> Iterator[dict[str, Any]]:
    from ministack.services import route53

    for (account, _), records in list(route53._records._data.items()):
        if account == account_id:
            yield from (record for record in list(records) if record["Type"] in ("A", "CNAME") and _target(record))


def _target(record: dict[str, Any]) -> str:
    """Return the host name to which a record of Route 53 leads, or "" for a record with IP addresses."""
    if record.get("AliasTarget"):
        return _host(record["AliasTarget"].get("DNSName", "")).removeprefix("dualstack.")
    return _host(str(record["ResourceRecords"][0])) if record["Type"] == "CNAME" else ""


def _is_excluded(record: dict[str, Any]) -> bool:
    """Return whether Route 53 leaves a record out of its answers because of the record's health check.

    A disabled health check is healthy. A health check that is disabled and inverted is unhealthy:
    https://docs.aws.amazon.com/Route53/latest/APIReference/API_UpdateHealthCheck.html
    """
    from ministack.services import route53

    for (_, identifier), check in list(route53._health_checks._data.items()):
        if identifier == record.get("HealthCheckId"):
            config = check.get("config") or {}
            return all(str(config.get(name)).lower() == "true" for name in ("Disabled", "Inverted"))
    return False


def _host(name: str) -> str:
    return name.rstrip(".").lower()
