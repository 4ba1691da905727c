"""Checks raw requests and answers against botocore's models of the AWS services.

boto3 ignores unknown members of an answer and repairs some wrong types. Other SDKs, e.g. the SDK of the Terraform
provider, are stricter. Therefore the checks read the raw body. A violation is written as its kind and its path, e.g.
`unknown $.Keys[].Name`. The kinds are:


- `unknown`: the model has no such member.
- `missing`: the model requires the member.
- `type`: the value has a different type than in the model.
- `enum`: the model's list of values does not contain the value.
- `body`: the body cannot be parsed, or an error has no code.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

from botocore.model import OperationModel, Shape
from botocore.parsers import RpcV2CBORParser
from botocore.utils import parse_timestamp

_INTEGERS = ("integer", "long")
_NUMBERS = ("float", "double")
_TRANSPORT = ("header", "headers", "statusCode", "uri", "querystring")


@dataclass(frozen=True)
class RawAnswer:
    """Describes an HTTP response. The names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def check_request(operation: OperationModel, protocol: str, body: bytes) -> list[str]:
    """Return the violations of a request. The function can read the bodies of the JSON and CBOR protocols."""
    shape = operation.input_shape
    if shape is None or protocol not in ("json", "smithy-rpc-v2-cbor"):
        return []
    try:
        content = _parsed(protocol, body)
    except ValueError:
        return ["body $"]
    return sorted(set(_check_value(shape, content, "$", protocol)))


def check_answer(operation: OperationModel, protocol: str, answer: RawAnswer) -> list[str]:
    """Return the violations of an answer.

    Args:
        operation: botocore's model of the operation.
        protocol: The protocol of the request, e.g. `json`, `query` or `rest-xml`.
        answer: The raw answer.
    """
    if answer.status >= 300:
        return [] if _has_error_code(protocol, answer) else ["body $.Error.Code"]
    shape = operation.output_shape
    if shape is None:
        return []
    violations = set(_check_headers(shape, answer))
    payload = shape.serialization.get("payload")
    body_shape = shape.members[payload] if payload else shape
    if body_shape.type_name not in ("string", "blob") and not shape.event_stream_name:
        try:
            violations |= set(_check_body(body_shape, protocol, answer.body))
        except (ValueError, ElementTree.ParseError):
            violations.add("body $")
    return sorted(violations)


def _check_headers(shape: Any, answer: RawAnswer) -> Iterator[str]:
    for name in shape.required_members:
        member = shape.members[name]
        if member.serialization.get("location") == "header":
            header = member.serialization.get("name", name).lower()
            if header not in answer.headers:
                yield f"missing $.{name}"


def _check_body(shape: Any, protocol: str, body: bytes) -> Iterator[str]:
    if protocol in ("json", "rest-json", "smithy-rpc-v2-cbor"):
        yield from _check_value(shape, _parsed(protocol, body), "$", protocol)
        return
    has_members = any(_in_body(member) for member in shape.members.values())
    if not body:
        if has_members and shape.required_members:
            yield "body $"
        return
    root = ElementTree.fromstring(body)  # noqa: S314 - the emulator on this machine wrote the document
    if protocol == "query":
        wrapper = shape.serialization.get("resultWrapper")
        inner = next((child for child in root if _tag(child) == wrapper), None)
        if inner is None:
            yield f"missing $.{wrapper}"
            return
        root = inner
    yield from _check_structure_element(shape, root, "$", ignored=("requestId", "ResponseMetadata"))


def _parsed(protocol: str, body: bytes) -> Any:
    if protocol == "smithy-rpc-v2-cbor":
        parser: Any = RpcV2CBORParser()
        return parser.parse_data_item(parser.get_peekable_stream_from_bytes(body)) if body else {}
    return json.loads(body) if body else {}


def _has_error_code(protocol: str, answer: RawAnswer) -> bool:
    if not answer.body or "x-amzn-errortype" in answer.headers:
        return True
    try:
        if protocol in ("json", "rest-json", "smithy-rpc-v2-cbor"):
            return bool({"__type", "code", "Code"} & set(_parsed(protocol, answer.body)))
        root = ElementTree.fromstring(answer.body)  # noqa: S314 - the emulator on this machine wrote the document
    except (ValueError, ElementTree.ParseError):
        return False
    return any(_tag(element) == "Code" and element.text for element in root.iter())


def _in_body(member: Shape) -> bool:
    return member.serialization.get("location") not in _TRANSPORT


def _check_value(shape: Any, value: Any, path: str, protocol: str) -> Iterator[str]:
    """Yield the violations of a JSON or CBOR value. AWS's SDKs treat null as an absent value."""
    if value is None or shape.serialization.get("jsonvalue"):
        return
    match shape.type_name:
        case "structure":
            yield from _check_object(shape, value, path, protocol)
        case "list":
            if not isinstance(value, list):
                yield f"type {path}"
                return
            for item in value:
                yield from _check_value(shape.member, item, f"{path}[]", protocol)
        case "map":
            if not isinstance(value, dict):
                yield f"type {path}"
                return
            for item in value.values():
                yield from _check_value(shape.value, item, f"{path}{{}}", protocol)
        case _:
            yield from _check_scalar(shape, value, path, protocol)


def _check_object(shape: Any, value: Any, path: str, protocol: str) -> Iterator[str]:
    if getattr(shape, "is_document_type", False):
        return
    if not isinstance(value, dict):
        yield f"type {path}"
        return
    members = {m.serialization.get("name", name): (name, m) for name, m in shape.members.items() if _in_body(m)}
    for key, item in value.items():
        if key in members:
            name, member = members[key]
            yield from _check_value(member, item, f"{path}.{name}", protocol)
        elif key != "__type":
            yield f"unknown {path}.{key}"
    for key, (name, _) in members.items():
        if name in shape.required_members and value.get(key) is None:
            yield f"missing {path}.{name}"


def _check_scalar(shape: Any, value: Any, path: str, protocol: str) -> Iterator[str]:
    kind = shape.type_name
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "string":
        right = isinstance(value, str)
        if right and shape.enum and value not in shape.enum:
            yield f"enum {path}"
    elif kind in _INTEGERS:
        right = isinstance(value, int) and not isinstance(value, bool)
    elif kind in _NUMBERS:
        right = is_number or value in ("NaN", "Infinity", "-Infinity")
    elif kind == "boolean":
        right = isinstance(value, bool)
    elif kind == "timestamp":
        # A time is a number, unless the model sets a different format:
        # https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
        has_text = shape.serialization.get("timestampFormat", "unixTimestamp") != "unixTimestamp"
        right = isinstance(value, datetime) or (isinstance(value, str) and _is_time(value) if has_text else is_number)
    elif kind == "blob":
        right = isinstance(value, bytes) if protocol == "smithy-rpc-v2-cbor" else _is_base64(value)
    else:
        right = True
    if not right:
        yield f"type {path}"


def _check_element(shape: Any, element: ElementTree.Element, path: str) -> Iterator[str]:
    """Yield the violations of an XML element."""
    match shape.type_name:
        case "structure":
            yield from _check_structure_element(shape, element, path)
        case "list":
            name = shape.member.serialization.get("name", "member")
            for child in element:
                if _tag(child) == name:
                    yield from _check_element(shape.member, child, f"{path}[]")
                else:
                    yield f"unknown {path}.{_tag(child)}"
        case "map":
            for entry in element:
                yield from _check_entry(shape, entry, path)
        case _:
            yield from _check_text(shape, element.text or "", path)


def _check_structure_element(
    shape: Any, element: ElementTree.Element, path: str, ignored: tuple[str, ...] = ()
) -> Iterator[str]:
    members = {_element_name(m, name): (name, m) for name, m in shape.members.items() if _in_body(m)}
    present = set()
    for child in element:
        tag = _tag(child)
        if tag in members:
            name, member = members[tag]
            present.add(name)
            flat = member.serialization.get("flattened")
            if flat and member.type_name == "list":
                yield from _check_element(member.member, child, f"{path}.{name}[]")
            elif flat and member.type_name == "map":
                yield from _check_entry(member, child, f"{path}.{name}")
            else:
                yield from _check_element(member, child, f"{path}.{name}")
        elif tag not in ignored:
            yield f"unknown {path}.{tag}"
    for name in shape.required_members:
        member = shape.members[name]
        # An empty flattened list has no XML element.
        is_attribute = member.serialization.get("xmlAttribute") or member.serialization.get("flattened")
        if name not in present and _in_body(member) and not is_attribute:
            yield f"missing {path}.{name}"


def _check_entry(shape: Any, entry: ElementTree.Element, path: str) -> Iterator[str]:
    name = shape.value.serialization.get("name", "value")
    for child in entry:
        if _tag(child) == name:
            yield from _check_element(shape.value, child, f"{path}{{}}")
        elif _tag(child) != shape.key.serialization.get("name", "key"):
            yield f"unknown {path}{{}}.{_tag(child)}"


def _check_text(shape: Any, text: str, path: str) -> Iterator[str]:
    kind = shape.type_name
    right = True
    if kind == "string" and shape.enum and text and text not in shape.enum:
        yield f"enum {path}"
    elif kind in _INTEGERS:
        right = text.strip().lstrip("-").isdecimal()
    elif kind in _NUMBERS:
        right = _is_number(text)
    elif kind == "boolean":
        right = text in ("true", "false")
    elif kind == "timestamp":
        right = _is_time(text)
    elif kind == "blob":
        right = _is_base64(text)
    if not right:
        yield f"type {path}"


def _element_name(member: Any, name: str) -> str:
    if member.type_name == "list" and member.serialization.get("flattened"):
        return str(member.member.serialization.get("name") or member.serialization.get("name", name))
    return str(member.serialization.get("name", name))


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_time(text: str) -> bool:
    try:
        parse_timestamp(text)
    except (ValueError, OverflowError, OSError):
        return False
    return True


def _is_base64(value: Any) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (ValueError, TypeError):
        return False
    return True
