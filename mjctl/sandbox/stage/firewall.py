"""Allows or refuses HTTP requests as a web ACL of AWS WAF does. The module `firewall` also works outside a stage.

AWS's API describes a web ACL by a JSON document, which this module evaluates. The load balancers' proxy and the stage's
CloudFront evaluate each request, also the handshake of a WebSocket. Like AWS, the stage does not inspect the frames of
a WebSocket.

https://docs.aws.amazon.com/waf/latest/developerguide/web-acl-processing.html
"""

from __future__ import annotations

import base64
import ipaddress
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from mjctl.sandbox.stage.managed_rules import MANAGED_GROUPS, ManagedRule
from mjctl.sandbox.stage.rate_limit import RequestRate
from mjctl.sandbox.stage.web_request import WebRequest, addresses, inspect, transformed, unknown_transformations

Json = Mapping[str, Any]

# https://docs.aws.amazon.com/waf/latest/developerguide/waf-captcha-and-challenge-how-it-works.html
_STATUS = {"Block": 403, "Captcha": 405, "Challenge": 202}
_CONTENT_TYPES = {"TEXT_PLAIN": "text/plain", "TEXT_HTML": "text/html", "APPLICATION_JSON": "application/json"}
_DEFAULT_WINDOW_SECONDS = 300

logger = logging.getLogger("mjctl.sandbox.stage.firewall")


@dataclass(frozen=True)
class FirewallDecision:
    """Describes the decision of a web ACL on a request.

    Attributes:
        allowed: Whether the web ACL allows the request.
        rule: The name of the rule that decided, or `Default_Action` if no rule decided.
        rule_in_group: If `rule` uses a rule group, the name of the group's rule that decided; else an empty text.
        status: The HTTP status of the answer to a refused request.
        headers: The headers of the custom response of the web ACL to a refused request.
        content_type: The media type of `body`.
        body: The body of the custom response, or None for the standard page of the load balancer or CloudFront.
        counted: The names of the matching rules whose action is Count.
        labels: The labels that the rules added to the request.
        custom: Whether the web ACL has a custom response to the refused request.
    """

    allowed: bool
    rule: str
    rule_in_group: str = ""
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    content_type: str = "text/html"
    body: str | None = None
    counted: Sequence[str] = ()
    labels: frozenset[str] = frozenset()
    custom: bool = False


@dataclass
class _RequestEvaluation:
    """Holds the state of the evaluation of one request."""

    request: WebRequest
    now: float
    labels: set[str] = field(default_factory=set)
    counted: list[str] = field(default_factory=list)


class Firewall:
    """Evaluates requests against one web ACL.

    Attributes:
        documents: The document of the web ACL as `WebACL`. `IPSets`, `RegexPatternSets` and `RuleGroups` map ARNs to
            the documents of the sets and rule groups that the web ACL names.
    """

    def __init__(self, documents: Json, previous: Firewall | None = None) -> None:
        """Read a web ACL.

        Args:
            documents: The web ACL and the documents that the web ACL names, as the attribute `documents`.
            previous: The firewall before a change of the web ACL. Rules whose rate limit is unchanged keep their
                counts of requests: https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-rate-based-caveats.html
        """
        self.documents = documents
        self._acl: Json = documents["WebACL"]
        self._rates: dict[str, RequestRate] = previous._rates if previous else {}
        self._reported: set[str] = set()
        self._namespace = f"awswaf:{self._acl['ARN'].split(':')[4]}:webacl:{self._acl['Name']}:"

    def evaluate(self, request: WebRequest, now: float | None = None) -> FirewallDecision:
        """Decide on a request, and count the request for the rules with a rate limit.

        Args:
            request: The request.
            now: The time in seconds, for tests; None for the current time.
        """
        evaluation = _RequestEvaluation(request, time.monotonic() if now is None else now)
        for rule in _by_priority(self._acl.get("Rules") or []):
            decision = self._rule(rule, evaluation)
            if decision is not None:
                return decision
        return self._decision(self._acl["DefaultAction"], evaluation, "Default_Action")

    def _rule(self, rule: Json, evaluation: _RequestEvaluation) -> FirewallDecision | None:
        statement = rule["Statement"]
        group = statement.get("ManagedRuleGroupStatement") or statement.get("RuleGroupReferenceStatement")
        if group is None:
            if not self._matches(statement, evaluation, rule["Name"]):
                return None
            evaluation.labels.update(self._namespace + label["Name"] for label in rule.get("RuleLabels") or [])
            return self._act(rule["Action"], evaluation, rule["Name"])
        scope = group.get("ScopeDownStatement")
        if scope is not None and not self._matches(scope, evaluation, rule["Name"]):
            return None
        only_counts = "Count" in (rule.get("OverrideAction") or {})
        rules = self._managed(group) if "ManagedRuleGroupStatement" in statement else self._own(group)
        overrides = {entry["Name"]: entry["ActionToUse"] for entry in group.get("RuleActionOverrides") or []}
        overrides |= {entry["Name"]: {"Count": {}} for entry in group.get("ExcludedRules") or []}
        for name, labels, action, matches in rules:
            if not matches(evaluation):
                continue
            evaluation.labels.update(labels)
            decision = self._act(overrides.get(name, action), evaluation, rule["Name"], name)
            if decision is not None and only_counts:
                evaluation.counted.append(rule["Name"])
                return None
            if decision is not None:
                return decision
        return None

    def _managed(self, group: Json) -> Iterator[_GroupRule]:
        """Yield the rules of a rule group that AWS manages."""
        rules = MANAGED_GROUPS.get(group["Name"])
        if rules is None:
            self._report(f"the managed rule group {group['Name']}")
        for rule in rules or ():
            yield rule.name, (rule.label,), {"Block": {}}, partial(_managed_matches, rule)

    def _own(self, group: Json) -> Iterator[_GroupRule]:
        """Yield the rules of a rule group that belongs to this account."""
        document = self.documents.get("RuleGroups", {}).get(group["ARN"]) or {}
        account = group["ARN"].split(":")[4]
        for rule in _by_priority(document.get("Rules") or []):
            labels = [
                f"awswaf:{account}:rulegroup:{document['Name']}:{e['Name']}" for e in rule.get("RuleLabels") or []
            ]
            place = f"{document['Name']}/{rule['Name']}"
            statement = rule["Statement"]
            yield rule["Name"], labels, rule["Action"], partial(self._matches, statement, place=place)

    def _act(self, action: Json, evaluation: _RequestEvaluation, rule: str, inner: str = "") -> FirewallDecision | None:
        """Return the decision by the action of a matching rule, or None if later rules must decide."""
        if "Count" in action:
            evaluation.counted.append(inner or rule)
            return None
        return self._decision(action, evaluation, rule, inner)

    def _decision(self, action: Json, evaluation: _RequestEvaluation, rule: str, inner: str = "") -> FirewallDecision:
        kind, options = next(iter(action.items()))
        labels = frozenset(evaluation.labels)
        if kind == "Allow":
            return FirewallDecision(True, rule, inner, counted=evaluation.counted, labels=labels)
        custom: Json = (options or {}).get("CustomResponse") or {}
        text = (self._acl.get("CustomResponseBodies") or {}).get(custom.get("CustomResponseBodyKey"), {})
        return FirewallDecision(
            False,
            rule,
            inner,
            status=int(custom.get("ResponseCode", _STATUS[kind])),
            headers=[(entry["Name"], entry["Value"]) for entry in custom.get("ResponseHeaders") or []],
            content_type=_CONTENT_TYPES.get(text.get("ContentType"), "text/html"),
            body=text.get("Content"),
            counted=evaluation.counted,
            labels=labels,
            custom=bool(custom),
        )

    def _matches(self, statement: Json, evaluation: _RequestEvaluation, place: str) -> bool:
        """Return whether a statement matches the request. `place` is the name of the rule with the statement."""
        kind, options = next(iter(statement.items()))
        matcher = _MATCHERS.get(kind)
        if matcher is None:
            self._report(f"the statement {kind}")
            return False
        return matcher(self, options, evaluation, place)

    def _and(self, options: Json, evaluation: _RequestEvaluation, place: str) -> bool:
        return all(self._matches(statement, evaluation, place) for statement in options["Statements"])

    def _or(self, options: Json, evaluation: _RequestEvaluation, place: str) -> bool:
        return any(self._matches(statement, evaluation, place) for statement in options["Statements"])

    def _not(self, options: Json, evaluation: _RequestEvaluation, place: str) -> bool:
        return not self._matches(options["Statement"], evaluation, place)

    def _text(self, options: Json, evaluation: _RequestEvaluation, compare: Callable[[bytes], bool]) -> bool:
        """Return whether `compare` is true for a value in the part of the request that the statement inspects."""
        component = options["FieldToMatch"]
        inspected = inspect(component, evaluation.request)
        transformations = options.get("TextTransformations") or []
        unknown = [*unknown_transformations(transformations), *([] if inspected else component)]
        if inspected is None or unknown:
            self._report(f"the component or transformation {', '.join(unknown)}")
            return False
        handling = (next(iter(component.values())) or {}).get("OversizeHandling", "CONTINUE")
        if inspected.too_large and handling != "CONTINUE":
            return bool(handling == "MATCH")
        return any(compare(transformed(value, transformations)) for value in inspected.values)

    def _bytes(self, options: Json, evaluation: _RequestEvaluation, _place: str) -> bool:
        wanted = base64.b64decode(options["SearchString"])
        word = re.compile(rb"(?<![A-Za-z0-9_])" + re.escape(wanted) + rb"(?![A-Za-z0-9_])")
        compare: Mapping[str, Callable[[bytes], bool]] = {
            "EXACTLY": lambda value: value == wanted,
            "STARTS_WITH": lambda value: value.startswith(wanted),
            "ENDS_WITH": lambda value: value.endswith(wanted),
            "CONTAINS": lambda value: wanted in value,
            "CONTAINS_WORD": lambda value: bool(word.search(value)),
        }
        return self._text(options, evaluation, compare[options["PositionalConstraint"]])

    def _regex(self, options: Json, evaluation: _RequestEvaluation, _place: str) -> bool:
        pattern = re.compile(options["RegexString"].encode())
        return self._text(options, evaluation, lambda value: bool(pattern.search(value)))

    def _regex_set(self, options: Json, evaluation: _RequestEvaluation, _place: str) -> bool:
        expressions = self.documents.get("RegexPatternSets", {}).get(options["ARN"], [])
        patterns = [re.compile(expression.encode()) for expression in expressions]
        return self._text(options, evaluation, lambda value: any(pattern.search(value) for pattern in patterns))

    def _size(self, options: Json, evaluation: _RequestEvaluation, _place: str) -> bool:
        limit = int(options["Size"])
        compare: Mapping[str, Callable[[bytes], bool]] = {
            "EQ": lambda value: len(value) == limit,
            "NE": lambda value: len(value) != limit,
            "LE": lambda value: len(value) <= limit,
            "LT": lambda value: len(value) < limit,
            "GE": lambda value: len(value) >= limit,
            "GT": lambda value: len(value) > limit,
        }
        return self._text(options, evaluation, compare[options["ComparisonOperator"]])

    def _ip_set(self, options: Json, evaluation: _RequestEvaluation, _place: str) -> bool:
        given, fallback = addresses(evaluation.request, options.get("IPSetForwardedIPConfig"))
        networks = [ipaddress.ip_network(n) for n in self.documents.get("IPSets", {}).get(options["ARN"], [])]
        if not given:
            return fallback
        return any(ipaddress.ip_address(address) in network for address in given for network in networks)

    def _label(self, options: Json, evaluation: _RequestEvaluation, _place: str) -> bool:
        """Return whether the request has a label: https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-label-match.html"""
        key = options["Key"]
        if options["Scope"] == "NAMESPACE":
            return any(label.startswith(key) or f":{key}" in label for label in evaluation.labels)
        return any(label == key or label.endswith(f":{key}") for label in evaluation.labels)

    def _rate(self, options: Json, evaluation: _RequestEvaluation, place: str) -> bool:
        scope = options.get("ScopeDownStatement")
        if scope is not None and not self._matches(scope, evaluation, place):
            return False
        key, fallback = self._rate_key(options, evaluation)
        if key is None:
            return fallback
        name = f"{place} {json.dumps(options, sort_keys=True, default=str)}"
        if name not in self._rates:
            window = int(options.get("EvaluationWindowSec") or _DEFAULT_WINDOW_SECONDS)
            self._rates[name] = RequestRate(int(options["Limit"]), window)
        return self._rates[name].exceeded(key, evaluation.now)

    def _rate_key(self, options: Json, evaluation: _RequestEvaluation) -> tuple[tuple[str, ...] | None, bool]:
        """Return the key by which a rate limit counts a request, and False.

        If the request has no key, return None and whether the rule matches a request without a key.
        """
        kind, request = options["AggregateKeyType"], evaluation.request
        if kind == "CONSTANT":
            return (), False
        if kind in {"IP", "FORWARDED_IP"}:
            config = options["ForwardedIPConfig"] if kind == "FORWARDED_IP" else None
            given, fallback = addresses(request, config)
            return ((given[0],), False) if given else (None, fallback)
        parts: list[str] = []
        for custom in options["CustomKeys"]:
            name, settings = next(iter(custom.items()))
            value = self._custom_key(name, settings or {}, options, evaluation)
            if value is None:
                return None, False
            parts.append(value)
        return tuple(parts), False

    def _custom_key(self, kind: str, settings: Json, options: Json, evaluation: _RequestEvaluation) -> str | None:
        request = evaluation.request
        if kind == "IP":
            return request.address
        if kind == "ForwardedIP":
            given, _ = addresses(request, options["ForwardedIPConfig"])
            return given[0] if given else None
        if kind == "LabelNamespace":
            return ",".join(sorted(label for label in evaluation.labels if settings["Namespace"] in label)) or None
        fields: Mapping[str, Json] = {
            "HTTPMethod": {"Method": {}},
            "Header": {"SingleHeader": settings},
            "QueryArgument": {"SingleQueryArgument": settings},
            "QueryString": {"QueryString": {}},
            "UriPath": {"UriPath": {}},
        }
        if kind == "Cookie":
            return request.cookies().get(settings["Name"])
        inspected = inspect(fields[kind], request) if kind in fields else None
        if inspected is None or not inspected.values:
            return None
        return transformed(inspected.values[0], settings.get("TextTransformations") or []).decode("latin-1")

    def _report(self, what: str) -> None:
        """Log, once for each part, that the stage does not evaluate a part of the web ACL.

        A part that the stage does not evaluate never matches.
        """
        if what not in self._reported:
            self._reported.add(what)
            logger.warning("%s: the stage does not evaluate %s", self._acl["Name"], what)


def _managed_matches(rule: ManagedRule, evaluation: _RequestEvaluation) -> bool:
    return rule.matches(evaluation.request)


def _by_priority(rules: Sequence[Json]) -> list[Json]:
    return sorted(rules, key=lambda rule: int(rule["Priority"]))


_GroupRule = tuple[str, Sequence[str], Json, Callable[[_RequestEvaluation], bool]]
_Matcher = Callable[[Firewall, Json, _RequestEvaluation, str], bool]
_MATCHERS = cast(
    "Mapping[str, _Matcher]",
    {
        "AndStatement": Firewall._and,
        "ByteMatchStatement": Firewall._bytes,
        "IPSetReferenceStatement": Firewall._ip_set,
        "LabelMatchStatement": Firewall._label,
        "NotStatement": Firewall._not,
        "OrStatement": Firewall._or,
        "RateBasedStatement": Firewall._rate,
        "RegexMatchStatement": Firewall._regex,
        "RegexPatternSetReferenceStatement": Firewall._regex_set,
        "SizeConstraintStatement": Firewall._size,
    },
)
