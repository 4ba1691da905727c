"""Lets the players of a load test pass the rate limit of a region's firewall, by a token in a header.

All players of a load test have one address, so the rate limit would block them. The rate limit ignores requests whose
header has a token of a pattern set of AWS WAF. Each token contains the time of its expiry. AWS WAF knows no expiry, so
mjctl removes a token at the end of its load test, and removes expired tokens of killed runs at the next change.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mjctl.clients.boto import RegionClients
from mjctl.clients.error_codes import error_code
from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError

HEADER = "x-load-test"
"""Name of the header with the token, as in terraform/modules/firewall."""

MATCHES_NOTHING = "^\\n"
"""Pattern of a pattern set without a token, as in terraform/modules/firewall. No header begins with a line feed."""

LATE_SECONDS = 900.0
"""Seconds for which a token is valid after the planned end of its load test, in which the last matches end."""

_TOKEN = re.compile(r"\^(\d{1,12})-[0-9a-f]{32}\$")
_ATTEMPTS = 10
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class PatternSet:
    """Names a pattern set of AWS WAF."""

    name: str
    id: str


def expired(patterns: Sequence[str], now: float) -> list[str]:
    """Return the patterns of tokens that have expired at `now`, in seconds since 1970."""
    return [pattern for pattern in patterns if (match := _TOKEN.fullmatch(pattern)) and int(match[1]) <= now]


async def tokens(clients: RegionClients, web_acl: dict[str, Any]) -> list[str]:
    """Return the patterns of the pattern set that the rate limit of a web ACL excepts.

    Raises:
        PermissionDeniedError: There are no AWS credentials, or the operator may not read the pattern set.
        UnreachableError: AWS WAF does not answer.
    """
    pattern_set = _pattern_set(web_acl)
    return [] if pattern_set is None else (await _read(clients, pattern_set))[0]


@asynccontextmanager
async def past_rate_limit(contract: Contract, clients: RegionClients, seconds: float) -> AsyncIterator[dict[str, str]]:
    """Let requests with a new token pass the rate limit before the block of the `async with`.

    After the block, the token is removed, also if the block was cancelled.

    Args:
        contract: The contract of the region.
        clients: The AWS clients of the region.
        seconds: The planned duration of the load test. The token expires `LATE_SECONDS` later.

    Yields:
        The headers of the requests. There are no headers for a region without a firewall, and for a region that an
        older version of mjctl has deployed.

    Raises:
        PermissionDeniedError: There are no AWS credentials, or the operator may not change the pattern set.
        UnreachableError: AWS WAF does not answer.
    """
    pattern_set = None
    if contract.managed is not None:
        answer = await clients.call("wafv2", "get_web_acl_for_resource", ResourceArn=contract.managed.load_balancer)
        pattern_set = _pattern_set(answer.get("WebACL") or {})
    if pattern_set is None:
        yield {}
        return
    token = f"{int(time.time() + seconds + LATE_SECONDS)}-{secrets.token_hex(16)}"
    pattern = f"^{token}$"
    # AWS may have added the token also if the call failed or was cancelled, so `finally` covers the call.
    try:
        await _change(clients, pattern_set, add=pattern)
        yield {HEADER: token}
    finally:
        await _change(clients, pattern_set, remove=pattern)


def _pattern_set(web_acl: dict[str, Any]) -> PatternSet | None:
    for arn in _excepted(web_acl.get("Rules") or []):
        name, identifier = arn.rsplit("/", 2)[1:]
        return PatternSet(name, identifier)
    return None


def _excepted(rules: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the ARN of each pattern set that a rate limit excepts."""
    for rule in rules:
        scope = rule["Statement"].get("RateBasedStatement", {}).get("ScopeDownStatement", {})
        reference = scope.get("NotStatement", {}).get("Statement", {}).get("RegexPatternSetReferenceStatement")
        if reference is not None:
            yield str(reference["ARN"])


async def _read(clients: RegionClients, pattern_set: PatternSet) -> tuple[list[str], str]:
    """Return the patterns, and the lock token with which AWS WAF recognizes a change by another caller."""
    answer = await clients.call(
        "wafv2", "get_regex_pattern_set", Name=pattern_set.name, Id=pattern_set.id, Scope="REGIONAL"
    )
    listed = answer["RegexPatternSet"]["RegularExpressionList"]
    return [str(expression["RegexString"]) for expression in listed], str(answer["LockToken"])


async def _change(clients: RegionClients, pattern_set: PatternSet, *, add: str = "", remove: str = "") -> None:
    """Add or remove a pattern, and remove the expired patterns. Several callers may change the set at the same time.

    https://docs.aws.amazon.com/waf/latest/APIReference/API_UpdateRegexPatternSet.html
    """
    for attempt in range(1, _ATTEMPTS + 1):
        patterns, lock_token = await _read(clients, pattern_set)
        unwanted = {remove, MATCHES_NOTHING, *expired(patterns, time.time())}
        kept = [pattern for pattern in patterns if pattern not in unwanted] + ([add] if add else [])
        try:
            await clients.call(
                "wafv2",
                "update_regex_pattern_set",
                Name=pattern_set.name,
                Id=pattern_set.id,
                Scope="REGIONAL",
                LockToken=lock_token,
                RegularExpressionList=[{"RegexString": pattern} for pattern in kept or [MATCHES_NOTHING]],
            )
        except UnreachableError as error:
            cause = error.__cause__
            changed = isinstance(cause, Exception) and error_code(cause) == "WAFOptimisticLockException"
            if not changed or attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return
