"""The public domains of the environment: API Gateway's custom domains, CloudFront's distributions and their aliases.

On AWS, a name answers by TLS only if the resource behind it has an issued certificate of ACM that covers the name. The
name resolves only by a record of Route 53. The stage checks both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# CloudFront takes certificates of this region only:
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cnames-and-https-requirements.html
_CLOUDFRONT_REGION = "us-east-1"
_LONGEST_CHAIN = 8


@dataclass(frozen=True)
class PublicDomain:
    """Describes a name that players and other clients may call.

    Attributes:
        name: The host name in lower case.
        kind: The service that answers.
        certificate: The names that the certificate covers; an API's certificate of ACM, or CloudFront's own certificate
            for a distribution's own name.
        region: The region whose API answers; `us-east-1` for CloudFront.
        distribution: CloudFront's id of the distribution, or None for an API.
    """

    name: str
    kind: Literal["api", "distribution"]
    certificate: tuple[str, ...]
    region: str
    distribution: str | None = None


def covers(certificate: Sequence[str], name: str) -> bool:
    """Return whether a certificate covers a name. A wildcard stands for exactly one label, as in browsers."""
    parent = name.partition(".")[2]
    return any(covered.lower() in (name, f"*.{parent}") for covered in certificate)


class Domains:
    """Reads the domains of an account from ministack's records.

    `refresh` reads the records, and all other methods answer by the last reading.
    """

    def __init__(self, account_id: str) -> None:
        self._account_id = account_id
        self._domains: dict[str, PublicDomain] = {}
        self._targets: dict[str, str] = {}

    def refresh(self) -> None:
        """Read the records of ministack."""
        records = list(_records(self._account_id))
        targets: dict[str, str] = {}
        # A DNS server would answer with the nearest region. The machine is equally near to all regions, so the first
        # region that is not excluded answers.
        for record in sorted(records, key=lambda record: (_is_excluded(record), record.get("Region") or "")):
            targets.setdefault(_host(record["Name"]), _target(record))
        domains = (*_distributions(self._account_id), *_api_domains(self._account_id, targets))
        self._targets, self._domains = targets, {domain.name: domain for domain in reversed(domains)}

    def find(self, host: str) -> PublicDomain | None:
        """Return the domain that answers for a host name, or None if the environment has no such domain."""
        return self._domains.get(host)

    def resolved(self, entrances: Callable[[str], str | None]) -> dict[str, str]:
        """Return the address of each name that a record of Route 53 leads to an entrance.

        Args:
            entrances: Returns the address of an entrance's own name, such as `d111111abcdef8.cloudfront.net`, or None
                if the name is no entrance.
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
    """Return the names that AWS itself gives to the environment's APIs, API domains and distributions."""
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
    """Return API Gateway's domains. Of a domain in several regions, the region to which Route 53 leads answers."""
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
    """Return the names of a certificate of ACM, or () if the region has no such issued certificate."""
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
    """Return the name to which a record leads, or "" for a record with addresses."""
    if record.get("AliasTarget"):
        return _host(record["AliasTarget"].get("DNSName", "")).removeprefix("dualstack.")
    return _host(str(record["ResourceRecords"][0])) if record["Type"] == "CNAME" else ""


def _is_excluded(record: dict[str, Any]) -> bool:
    """Return whether the health check of a record keeps DNS from answering with it.

    Route 53 regards a disabled health check as healthy, and an inverted one as the opposite:
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
