"""The certificate that players' clients are shown."""

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
    # A public authority's certificates are renewed by who issued them.
    if contract.ca_file:
        yield Check("certificate", check_certificate, severity=Severity.CRITICAL)


async def check_certificate(context: RegionContext) -> Finding:
    """It is verified, and will still be in a month. One certificate serves all listeners of a local region."""
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
        return warned(f"ends in {days} days", hint=f"`mjctl deploy {scope}` renews it", **evidence)
    return passed(f"{version}, verified, {days} days left", **evidence)
