"""Defines those rules of AWS WAF's managed rule groups whose behaviour AWS documents.

For each rule, AWS publishes which component of a request the rule inspects, and some of the rule's patterns. The stage
looks only for the published patterns, so AWS blocks more requests than the stage. AWS does not document the rules about
SQL injection and the list of IP addresses with a bad reputation. The stage does not evaluate these rules and this list.

https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-ip-rep.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

from mjctl.sandbox.stage.web_request import INSPECTED_BODY_BYTES, WebRequest

_LONGEST_QUERY = 2048
_LONGEST_COOKIE = 10_240
_LONGEST_PATH = 1024

_BAD_BOTS = re.compile(r"nessus|nmap", re.IGNORECASE)
_METADATA = re.compile(r"169\.254\.169\.254")
_TRAVERSAL = re.compile(r"\.\./\.\./")
_EXTENSIONS = re.compile(r"\.(?:log|ini)\b", re.IGNORECASE)
_REMOTE_FILE = re.compile(r"(?:https?|ftps?|file)://\d{1,3}(?:\.\d{1,3}){3}", re.IGNORECASE)
_SCRIPT = re.compile(r"<script\b", re.IGNORECASE)
_JAVA = re.compile(r"java\.lang\.Runtime")
_LOCALHOST = re.compile(r"\blocalhost\b", re.IGNORECASE)
_EXPLOITABLE = re.compile(r"web-inf", re.IGNORECASE)
_LOG4J = re.compile(r"\$\{jndi:", re.IGNORECASE)

Condition = Callable[[WebRequest], bool]
_Texts = Callable[[WebRequest], Iterator[str]]


@dataclass(frozen=True)
class ManagedRule:
    """Describes a rule of a managed rule group.

    The rule blocks requests that match, unless the web ACL overrides the rule's action.

    Attributes:
        name: The name of the rule.
        label: The label that a match adds to the request, with its namespace.
        matches: Returns whether the rule matches a request.
    """

    name: str
    label: str
    matches: Condition


def _body(request: WebRequest) -> Iterator[str]:
    text = request.body[:INSPECTED_BODY_BYTES].decode("utf-8", "replace")
    yield text
    yield unquote_plus(text)


def _cookie(request: WebRequest) -> Iterator[str]:
    yield (request.header("cookie") or "")[:INSPECTED_BODY_BYTES]


def _headers(request: WebRequest) -> Iterator[str]:
    for name, value in request.headers:
        yield name
        yield value


def _path(request: WebRequest) -> Iterator[str]:
    yield request.path
    yield unquote_plus(request.path)


def _query(request: WebRequest) -> Iterator[str]:
    for name, value in request.arguments():
        yield name
        yield value


def _found(pattern: re.Pattern[str], texts: _Texts) -> Condition:
    return lambda request: any(pattern.search(text) for text in texts(request))


def _family(
    namespace: str, name: str, pattern: re.Pattern[str], places: Mapping[str, tuple[str, _Texts]]
) -> tuple[ManagedRule, ...]:
    """Return a rule `<name>_<place>` for each component in `places`. Each of these rules looks for `pattern`."""
    return tuple(
        ManagedRule(f"{name}_{place}", f"{namespace}:{name}_{label}", _found(pattern, texts))
        for place, (label, texts) in places.items()
    )


_CORE, _INPUTS = "awswaf:managed:aws:core-rule-set", "awswaf:managed:aws:known-bad-inputs"
_IN_BODY = {"BODY": ("Body", _body)}
_IN_COOKIE = {"COOKIE": ("Cookie", _cookie)}
_IN_HEADER = {"HEADER": ("Header", _headers)}
_IN_PATH = {"URIPATH": ("URIPath", _path)}
_IN_ARGUMENTS = {"QUERYARGUMENTS": ("QueryArguments", _query)}
_IN_QUERY_STRING = {"QUERYSTRING": ("QueryString", _query)}

_COMMON: tuple[ManagedRule, ...] = (
    ManagedRule(
        "NoUserAgent_HEADER", f"{_CORE}:NoUserAgent_Header", lambda request: request.header("user-agent") is None
    ),
    ManagedRule(
        "UserAgent_BadBots_HEADER",
        f"{_CORE}:BadBots_Header",
        lambda request: bool(_BAD_BOTS.search(request.header("user-agent") or "")),
    ),
    ManagedRule(
        "SizeRestrictions_QUERYSTRING",
        f"{_CORE}:SizeRestrictions_QueryString",
        lambda request: len(request.query) > _LONGEST_QUERY,
    ),
    ManagedRule(
        "SizeRestrictions_Cookie_HEADER",
        f"{_CORE}:SizeRestrictions_Cookie_Header",
        lambda request: len(request.header("cookie") or "") > _LONGEST_COOKIE,
    ),
    ManagedRule(
        "SizeRestrictions_BODY",
        f"{_CORE}:SizeRestrictions_Body",
        lambda request: len(request.body) > INSPECTED_BODY_BYTES,
    ),
    ManagedRule(
        "SizeRestrictions_URIPATH",
        f"{_CORE}:SizeRestrictions_URIPath",
        lambda request: len(request.path) > _LONGEST_PATH,
    ),
    *_family(_CORE, "EC2MetaDataSSRF", _METADATA, _IN_BODY | _IN_COOKIE | _IN_PATH | _IN_ARGUMENTS),
    *_family(_CORE, "GenericLFI", _TRAVERSAL, _IN_ARGUMENTS | _IN_PATH | _IN_BODY),
    *_family(_CORE, "RestrictedExtensions", _EXTENSIONS, _IN_PATH | _IN_ARGUMENTS),
    *_family(_CORE, "GenericRFI", _REMOTE_FILE, _IN_ARGUMENTS | _IN_BODY | _IN_PATH),
    *_family(_CORE, "CrossSiteScripting", _SCRIPT, _IN_COOKIE | _IN_ARGUMENTS | _IN_BODY | _IN_PATH),
)

_KNOWN_BAD_INPUTS: tuple[ManagedRule, ...] = (
    *_family(_INPUTS, "JavaDeserializationRCE", _JAVA, _IN_HEADER | _IN_BODY | _IN_PATH | _IN_QUERY_STRING),
    ManagedRule(
        "Host_localhost_HEADER",
        f"{_INPUTS}:Host_Localhost_Header",
        lambda request: bool(_LOCALHOST.search(request.header("host") or "")),
    ),
    ManagedRule("PROPFIND_METHOD", f"{_INPUTS}:Propfind_Method", lambda request: request.method == "PROPFIND"),
    *_family(_INPUTS, "ExploitablePaths", _EXPLOITABLE, _IN_PATH),
    *_family(_INPUTS, "Log4JRCE", _LOG4J, _IN_HEADER | _IN_QUERY_STRING | _IN_BODY | _IN_PATH),
)

MANAGED_GROUPS: Mapping[str, Sequence[ManagedRule]] = {
    "AWSManagedRulesAmazonIpReputationList": (),
    "AWSManagedRulesCommonRuleSet": _COMMON,
    "AWSManagedRulesKnownBadInputsRuleSet": _KNOWN_BAD_INPUTS,
}
"""The rules by the name of their managed rule group, in the order in which WAF evaluates the rules."""
