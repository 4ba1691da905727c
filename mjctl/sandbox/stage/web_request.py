"""Extracts the parts of an HTTP request that a web ACL of AWS WAF can inspect, and applies text transformations.

https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-fields-list.html
https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-transformation.html
"""

from __future__ import annotations

import base64
import binascii
import html
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

INSPECTED_BODY_BYTES = 8192
"""The number of bytes of a request's body that the web ACL of a load balancer inspects.

https://docs.aws.amazon.com/waf/latest/developerguide/web-acl-setting-body-inspection-limit.html
"""

CLOUDFRONT_BODY_BYTES = 16_384
"""The number of bytes of a request's body that the web ACL of a CloudFront distribution inspects by default."""

_INSPECTED_HEADER_BYTES = 8192
_INSPECTED_HEADERS = 200


@dataclass(frozen=True)
class WebRequest:
    """Describes the parts of a request that a web ACL can inspect.

    Attributes:
        address: The IP address of the client's connection.
        method: The HTTP method.
        path: The path of the URL, with the client's percent-encoding.
        query: The query string without the question mark, with the client's percent-encoding.
        headers: The headers with lower-case names, in the order of the request.
        body: The first bytes of the body. A body with more than `inspected_bytes` bytes counts as too large.
        inspected_bytes: The number of bytes of the body that the web ACL inspects.
    """

    address: str
    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes = b""
    inspected_bytes: int = INSPECTED_BODY_BYTES

    def header(self, name: str) -> str | None:
        """Return the values of a header, joined by commas, or None if the request does not have the header."""
        values = [value for key, value in self.headers if key == name.lower()]
        return ", ".join(values) if values else None

    def arguments(self) -> list[tuple[str, str]]:
        """Return the names and values of the query string, decoded."""
        return parse_qsl(self.query, keep_blank_values=True)

    def cookies(self) -> dict[str, str]:
        """Return the cookies by name."""
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load(self.header("cookie") or "")
        except CookieError:
            return {}
        return {name: morsel.value for name, morsel in jar.items()}


@dataclass(frozen=True)
class Inspected:
    """Holds the values of a component of a request.

    Attributes:
        values: The values that a statement compares. A missing component has no values.
        too_large: True if WAF inspects only the first part of the component.
    """

    values: Sequence[bytes]
    too_large: bool = False


def inspect(field: Mapping[str, Any], request: WebRequest) -> Inspected | None:
    """Return the component of a request that `FieldToMatch` of a statement names, or None for an unknown component."""
    kind, options = next(iter(field.items()), ("", {}))
    name = str(options.get("Name", "")).lower() if isinstance(options, dict) else ""
    if kind == "SingleHeader":
        value = request.header(name)
        return Inspected([] if value is None else [value.encode()])
    if kind == "SingleQueryArgument":
        return Inspected([value.encode() for key, value in request.arguments() if key.lower() == name])
    if kind == "AllQueryArguments":
        return Inspected([part.encode() for pair in request.arguments() for part in pair])
    if kind == "Body":
        body, most = request.body, request.inspected_bytes
        return Inspected([body[:most]], too_large=len(body) > most)
    if kind in {"Headers", "Cookies"}:
        pairs = list(request.headers) if kind == "Headers" else list(request.cookies().items())
        return _pairs(pairs, options)
    simple = {"UriPath": request.path, "QueryString": request.query, "Method": request.method}
    return Inspected([simple[kind].encode()]) if kind in simple else None


def _pairs(pairs: Sequence[tuple[str, str]], options: Mapping[str, Any]) -> Inspected:
    """Return the names and values of headers or cookies, limited to the part that WAF inspects."""
    pattern: Mapping[str, Any] = options.get("MatchPattern", {})
    included = {name.lower() for name in pattern.get("IncludedHeaders", pattern.get("IncludedCookies", []))}
    excluded = {name.lower() for name in pattern.get("ExcludedHeaders", pattern.get("ExcludedCookies", []))}
    scope = options.get("MatchScope", "ALL")
    values: list[bytes] = []
    size = 0
    for number, (name, value) in enumerate(pairs):
        size += len(name) + len(value)
        if number >= _INSPECTED_HEADERS or size > _INSPECTED_HEADER_BYTES:
            return Inspected(values, too_large=True)
        if (included and name.lower() not in included) or name.lower() in excluded:
            continue
        values += [name.encode()] if scope in {"ALL", "KEY"} else []
        values += [value.encode()] if scope in {"ALL", "VALUE"} else []
    return Inspected(values)


def addresses(request: WebRequest, config: Mapping[str, Any] | None) -> tuple[list[str], bool]:
    """Return the client addresses for an IP set or a rate limit, and whether the statement matches without an address.

    Args:
        request: The request.
        config: The statement's `ForwardedIPConfig` or `IPSetForwardedIPConfig`; None to use the address of the
            connection.
    """
    if not config:
        return [request.address], False
    given = [part.strip() for part in (request.header(config["HeaderName"]) or "").split(",") if part.strip()]
    valid = [part for part in given if re.fullmatch(r"[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*", part)]
    position = config.get("Position", "FIRST")
    chosen = valid if position == "ANY" else valid[-1:] if position == "LAST" else valid[:1]
    return chosen, config.get("FallbackBehavior") == "MATCH"


def transformed(value: bytes, transformations: Sequence[Mapping[str, Any]]) -> bytes:
    """Return `value` after the text transformations of a statement, in the order of their priorities."""
    for transformation in sorted(transformations, key=lambda entry: int(entry["Priority"])):
        value = _TRANSFORMATIONS[transformation["Type"]](value)
    return value


def unknown_transformations(transformations: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the types of text transformations that `transformed` does not know."""
    for transformation in transformations:
        if transformation["Type"] not in _TRANSFORMATIONS:
            yield transformation["Type"]


def _command_line(value: bytes) -> bytes:
    value = re.sub(rb"[\\\"'^]", b"", value)
    value = re.sub(rb"[,;]", b" ", re.sub(rb" +(?=[/(])", b"", value))
    return re.sub(rb" +", b" ", value).lower()


def _base64(value: bytes) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return value


def _hex(value: bytes) -> bytes:
    try:
        return bytes.fromhex(value.decode("ascii"))
    except ValueError:
        return value


_TRANSFORMATIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "NONE": lambda value: value,
    "BASE64_DECODE": _base64,
    "CMD_LINE": _command_line,
    "COMPRESS_WHITE_SPACE": lambda value: re.sub(rb"[ \f\t\n\r\v\xa0]+", b" ", value),
    "HEX_DECODE": _hex,
    "HTML_ENTITY_DECODE": lambda value: html.unescape(value.decode("latin-1")).encode("utf-8"),
    "LOWERCASE": lambda value: value.lower(),
    "NORMALIZE_PATH": lambda value: posixpath.normpath(value.decode("latin-1")).encode("latin-1"),
    "REMOVE_NULLS": lambda value: value.replace(b"\0", b""),
    "REPLACE_NULLS": lambda value: value.replace(b"\0", b" "),
    "URL_DECODE": lambda value: unquote_to_bytes(value.replace(b"+", b" ")),
}
