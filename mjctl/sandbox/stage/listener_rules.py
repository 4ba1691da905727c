"""Evaluates the rules of a load balancer's listener: which rule applies to a request, and where a redirect leads.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-rules.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import parse_qsl

from mjctl.sandbox.stage.http1 import RequestHead
from mjctl.sandbox.stage.routes import ListenerRoute

Rule = Mapping[str, Any]


@dataclass(frozen=True)
class RoutedRequest:
    """Describes the parts of a request that the rules of a listener inspect.

    Attributes:
        address: The IP address of the client.
        protocol: `http` or `https`.
        port: The port of the listener.
        method: The HTTP method.
        host: The host name of the header Host, without the port. Empty if the request has no header Host.
        path: The path of the URL, with the client's percent-encoding.
        query: The query string, with the client's percent-encoding.
        headers: The headers by lower-case name. The values of a repeated header are joined by commas.
    """

    address: str
    protocol: str
    port: int
    method: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]


def action(rules: Sequence[Rule], request: RoutedRequest) -> Rule | None:
    """Return the action of the first rule that applies to a request, or None if no rule applies.

    The function does not evaluate actions that authenticate users. For a rule whose first action authenticates users,
    the function returns None.
    """
    for rule in rules:
        if rule.get("IsDefault") or all(_applies(condition, request) for condition in rule["Conditions"]):
            actions = sorted(rule.get("Actions") or [], key=lambda entry: int(entry.get("Order", 1)))
            return actions[0] if actions and actions[0]["Type"] in {"forward", "redirect", "fixed-response"} else None
    return None


def location(redirect: Mapping[str, str], request: RoutedRequest) -> str:
    """Return the URL to which a redirect leads. The URL always contains the port, like the URLs of AWS's redirects."""
    values = {
        "protocol": request.protocol,
        "host": request.host,
        "port": str(request.port),
        "path": request.path.lstrip("/"),
        "query": request.query,
    }

    def filled(name: str, default: str) -> str:
        return re.sub(r"#\{(\w+)\}", lambda match: values.get(match[1], match[0]), redirect.get(name) or default)

    protocol = filled("Protocol", "#{protocol}").lower()
    query = filled("Query", "#{query}")
    place = f"{filled('Host', '#{host}')}:{filled('Port', '#{port}')}{filled('Path', '/#{path}')}"
    return f"{protocol}://{place}" + (f"?{query}" if query else "")


def _applies(condition: Rule, request: RoutedRequest) -> bool:
    test = _CONDITIONS.get(condition["Field"])
    return test is not None and any(test(value, request) for value in _values(condition))


def _values(condition: Rule) -> Sequence[str]:
    """Return the values of a condition.

    A value of a header condition begins with the name of the header and a line break.
    """
    config = condition.get("HttpHeaderConfig")
    if not config:
        return condition.get("Values") or []
    return [f"{str(config.get('HttpHeaderName', '')).lower()}\n{value}" for value in config.get("Values") or []]


def _has_header(value: str, request: RoutedRequest) -> bool:
    name, _, wanted = value.partition("\n")
    given = request.headers.get(name)
    return given is not None and bool(_pattern(wanted, exact_case=False).fullmatch(given))


def _names_argument(value: str, query: str) -> bool:
    """Return whether a query string has an argument that matches `value`.

    `value` is `KEY=VALUE`. Without `KEY=`, an argument with any key can match.
    """
    key, equals, wanted = value.rpartition("=")
    pattern = _pattern(wanted, exact_case=False)
    return any(
        (not equals or _pattern(key, exact_case=False).fullmatch(name)) and pattern.fullmatch(given)
        for name, given in parse_qsl(query, keep_blank_values=True)
    )


@lru_cache(maxsize=1024)
def _pattern(value: str, *, exact_case: bool) -> re.Pattern[str]:
    """Return a regular expression for a pattern with the wildcards * (any characters) and ? (one character)."""
    expression = re.escape(value).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(expression, re.DOTALL if exact_case else re.DOTALL | re.IGNORECASE)


_CONDITIONS: Mapping[str, Callable[[str, RoutedRequest], bool]] = {
    "host-header": lambda value, request: bool(_pattern(value, exact_case=False).fullmatch(request.host)),
    "http-header": _has_header,
    "http-request-method": lambda value, request: value == request.method,
    "path-pattern": lambda value, request: bool(_pattern(value, exact_case=True).fullmatch(request.path)),
    "query-string": lambda value, request: _names_argument(value, request.query),
    "source-ip": lambda value, request: ip_address(request.address) in ip_network(value),
}


def routed(head: RequestHead, route: ListenerRoute, address: str) -> RoutedRequest:
    """Return the parts of a request that the rules of a listener inspect."""
    target = head.target.decode("latin-1")
    if "://" in target and not target.startswith("/"):
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    headers: dict[str, str] = {}
    for name, value in head.headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    host = headers.get("host", "")
    name_of_host, colon, port = host.rpartition(":")
    return RoutedRequest(
        address=address,
        protocol="https" if route.secure else "http",
        port=route.port,
        method=head.method.decode("latin-1"),
        host=name_of_host if colon and port.isdigit() else host,
        path=path,
        query=query,
        headers=headers,
    )


def forward_groups(actions: Sequence[Rule]) -> dict[str, int]:
    """Return the weight of each target group to which `actions` forward requests, by the ARN of the target group."""
    groups: dict[str, int] = {}
    for entry in actions:
        if entry.get("Type") != "forward":
            continue
        if "TargetGroupArn" in entry:
            groups[entry["TargetGroupArn"]] = 1
        for group in (entry.get("ForwardConfig") or {}).get("TargetGroups", []):
            groups[group["TargetGroupArn"]] = int(group.get("Weight", 1))
    return groups
