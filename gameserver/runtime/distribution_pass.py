"""Defines the distribution's pass, by which the game's CloudFront distribution proves itself to the API.

A function of CloudFront reads the pass from a key value store, and writes the pass into a header of each request. A
secret of Secrets Manager has the SHA-256 digests of the passes that the API accepts. A pass has 256 random bits, so a
reader of the secret cannot find the pass (docs/decisions/0021).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Final

HEADER: Final = "x-distribution-pass"
"""Name of the HTTP header with the pass, in lower case.

CloudFront lets functions set no header whose name starts with `X-Edge-`:
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/edge-function-restrictions-all.html
"""

STORE_KEY: Final = "pass"
"""Key of the pass in the key value store of CloudFront."""

PAUSE_SECONDS: Final = 5.0
"""Shortest pause between two reads of the secret by a process of the API that gets passes which it does not know."""


def secret_name(project: str, environment: str) -> str:
    """Return the name of the secret with the digests of the accepted passes."""
    return f"{project}-{environment}-distribution-passes"


def digest(value: str) -> str:
    """Return the digest of a pass."""
    return hashlib.sha256(value.encode()).hexdigest()


def encode(accepted: Iterable[str]) -> str:
    """Return the text of the secret. The argument has the digests of the accepted passes."""
    return json.dumps({"accepted": sorted(accepted)})


def decode(text: str) -> frozenset[str]:
    """Return the digests of the accepted passes. An empty result means that the API requires no pass.

    Raises:
        ValueError: the text does not have the form of `encode`.
    """
    document = json.loads(text)
    accepted = document.get("accepted") if isinstance(document, dict) else None
    if not isinstance(accepted, list) or not all(isinstance(item, str) for item in accepted):
        raise ValueError("the secret does not list the accepted passes")
    return frozenset(accepted)
