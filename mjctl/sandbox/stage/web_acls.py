"""Reads web ACLs from moto, with the IP sets, pattern sets and rule groups that the rules refer to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mjctl.sandbox.stage.firewall import Firewall, FirewallDecision
from mjctl.sandbox.stage.moto_client import MotoClient
from mjctl.sandbox.stage.web_request import WebRequest

Json = Mapping[str, Any]

_KEPT_SECONDS = 2.0
_MISSING = ("WAFNonexistentItemException",)
# AWS keeps the web ACLs of CloudFront in this region.
_GLOBAL_REGION = "us-east-1"


class WebAcls:
    """Reads web ACLs through AWS's API."""

    def __init__(self, url: str, access_key_id: str) -> None:
        """Create a client without a connection.

        Args:
            url: The address of moto.
            access_key_id: The access key id that requests to moto must name. moto checks no signature.
        """
        self._moto = MotoClient(url, access_key_id)

    def of_resource(self, resource: str) -> Json | None:
        """Return the documents of the web ACL of a regional resource, or None if no web ACL protects the resource.

        Args:
            resource: The ARN of a load balancer or of a user pool.

        Raises:
            OSError: moto does not answer.
        """
        region = resource.split(":")[3]
        answer = self._call(region, "GetWebACLForResource", ResourceArn=resource)
        acl = (answer or {}).get("WebACL")
        return self._documents(region, "REGIONAL", acl) if acl else None

    def of_arn(self, arn: str) -> Json | None:
        """Return the documents of a web ACL, e.g. of the web ACL of a CloudFront distribution.

        Raises:
            OSError: moto does not answer.
        """
        parts = arn.split(":", 5)
        scope = "CLOUDFRONT" if parts[5].startswith("global/") else "REGIONAL"
        region = _GLOBAL_REGION if scope == "CLOUDFRONT" else parts[3]
        acl = self._item(region, scope, "WebACL", arn)
        return self._documents(region, scope, acl) if acl else None

    def _documents(self, region: str, scope: str, acl: Json) -> Json:
        groups: dict[str, Json] = {}
        sets: dict[str, Any] = {}
        patterns: dict[str, Any] = {}
        waiting = [acl]
        while waiting:
            for kind, arn in _references(waiting.pop().get("Rules") or []):
                if kind == "IPSetReferenceStatement" and arn not in sets:
                    sets[arn] = (self._item(region, scope, "IPSet", arn) or {}).get("Addresses", [])
                elif kind == "RegexPatternSetReferenceStatement" and arn not in patterns:
                    pattern_set = self._item(region, scope, "RegexPatternSet", arn) or {}
                    expressions = pattern_set.get("RegularExpressionList") or []
                    patterns[arn] = [e["RegexString"] if isinstance(e, dict) else e for e in expressions]
                elif kind == "RuleGroupReferenceStatement" and arn not in groups:
                    groups[arn] = self._item(region, scope, "RuleGroup", arn) or {}
                    waiting.append(groups[arn])
        return {"WebACL": acl, "IPSets": sets, "RegexPatternSets": patterns, "RuleGroups": groups}

    def _item(self, region: str, scope: str, kind: str, arn: str) -> Json | None:
        """Return the web ACL, the IP set, the pattern set or the rule group with an ARN."""
        name, identifier = arn.rsplit("/", 2)[1:]
        answer = self._call(region, f"Get{kind}", Scope=scope, Name=name, Id=identifier)
        return answer[kind] if answer else None

    def _call(self, region: str, operation: str, **parameters: str) -> Json | None:
        """Call an operation. Returns None if the resource does not exist.

        Raises:
            OSError: moto does not answer, or answers with an error other than a missing resource.
        """
        return self._moto.post("wafv2", region, f"AWSWAF_20190729.{operation}", parameters, _MISSING)


class KeptFirewalls:
    """Keeps web ACLs in memory, and decides on requests by them.

    Call `decide` in a worker thread, because the method may wait for an answer of moto. The stage uses this class for
    requests to CloudFront and Cognito. The proxy of the load balancers evaluates web ACLs itself.
    """

    def __init__(self, read: Callable[[str], Json | None]) -> None:
        """Create the object without reading a web ACL.

        Args:
            read: Returns the documents of a web ACL: `WebAcls.of_arn` or `WebAcls.of_resource`.
        """
        self._read = read
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Firewall | None]] = {}

    def decide(self, arn: str, request: WebRequest) -> FirewallDecision | None:
        """Return the decision of a web ACL, or None if the web ACL does not exist.

        Two seconds after the last read, the method reads the web ACL again, and keeps the counts for rate limits.

        Args:
            arn: The argument of the function `read`: the ARN of the web ACL, or of the resource that it protects.
            request: The request.

        Raises:
            OSError: moto does not answer.
        """
        with self._lock:
            read_at, firewall = self._kept.get(arn, (float("-inf"), None))
            if time.monotonic() - read_at > _KEPT_SECONDS:
                documents = self._read(arn)
                if documents is None:
                    firewall = None
                elif firewall is None or firewall.documents != documents:
                    firewall = Firewall(documents, firewall)
                self._kept[arn] = (time.monotonic(), firewall)
            return firewall.evaluate(request) if firewall is not None else None


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the kind and the ARN of each IP set, pattern set or rule group that the rules of a web ACL refer to."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, dict) and isinstance(inner.get("ARN"), str):
                yield key, inner["ARN"]
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
