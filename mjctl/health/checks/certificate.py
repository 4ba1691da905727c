"""Checks the certificate that a local region with TLS presents to the players' clients."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from mjctl.clients.boto import unreachable
from mjctl.clients.tls import ssl_context
from mjctl.health.model import Check, Finding, RegionContext, passed, warned
from mjctl.models.check import Severity
from mjctl.models.contract import Contract

_DAY_SECONDS = 86_400
_WARN_DAYS = 30


def checks(contract: Contract) -> Iterator[Check]:
    """Yield the check `certificate`, if a private authority of the region has issued the region's certificate."""
    # On AWS, ACM issues and renews the certificates, and the module `edge` of this package checks them. This is so on a
    # stage too, whose contract has a private authority.
    if contract.ca_file and contract.managed is None:
        yield Check("certificate", check_certificate, severity=Severity.CRITICAL)


async def check_certificate(context: RegionContext) -> Finding:
    """Check that the certificate of a local region is valid and does not expire within 30 days.

    All listeners of a local region use the same certificate, so the check connects to only one listener.
    """
    contract = context.contract
    address = urlsplit(contract.endpoints.api)
    try:
        _, writer = await asyncio.open_connection(
            address.hostname, address.port or 443, ssl=ssl_context(contract), server_hostname=address.hostname
        )
    except OSError as error:
        raise unreachable(contract, "the HTTP API", contract.endpoints.api, error) from error
    try:
        certificate = writer.get_extra_info("peercert")
        version = writer.get_extra_info("ssl_object").version()
    finally:
        writer.transport.abort()
    days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) // _DAY_SECONDS)
    evidence = {"not_after": certificate["notAfter"], "days_left": days, "tls": version}
    if days < _WARN_DAYS:
        scope = f"--env {contract.environment} --region {contract.region}"
        return warned(
            f"the certificate expires in {days} days", hint=f"`mjctl deploy {scope}` renews the certificate", **evidence
        )
    return passed(f"{version}, certificate valid for {days} days", **evidence)
