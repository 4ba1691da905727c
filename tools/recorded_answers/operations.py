"""Finds the operation of AWS that a raw request calls."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.loaders import Loader, UnknownServiceError
from botocore.model import OperationModel, OperationNotFoundError, ServiceModel

# The services by the name in a request's signature. Several services use the same name, and the likeliest is first.
_SIGNED_AS = {
    "apigateway": ("apigatewayv2", "apigateway"),
    "dynamodb": ("dynamodb", "dynamodbstreams"),
    "elasticloadbalancing": ("elbv2", "elb"),
    "email": ("ses", "sesv2"),
    "monitoring": ("cloudwatch",),
    "s3": ("s3", "s3control"),
    "states": ("stepfunctions",),
    "tagging": ("resourcegroupstaggingapi",),
}
_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/[^/]*/([^/]+)/aws4_request")
_RPC = re.compile(r"/service/[^/]+/operation/(\w+)")


@dataclass(frozen=True)
class RawRequest:
    """Describes an HTTP request. The names of the headers are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def operation_of(request: RawRequest) -> tuple[OperationModel, str] | None:
    """Return botocore's model of the operation that a signed request calls, and the protocol of the request.

    Returns:
        None if botocore has no such operation, or if the request is not signed.
    """
    for model in _services(request):
        operation = _operation(model, request)
        if operation is not None:
            return operation
    return None


def _services(request: RawRequest) -> Iterator[ServiceModel]:
    scope = _SCOPE.search(request.headers.get("authorization", ""))
    name = scope[1] if scope else ""
    for service in _SIGNED_AS.get(name, (name,)):
        try:
            yield _service(service)
        except UnknownServiceError:
            continue


@cache
def _service(name: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(name, "service-2"), service_name=name)


def _operation(model: ServiceModel, request: RawRequest) -> tuple[OperationModel, str] | None:
    metadata: Mapping[str, Any] = model.metadata
    prefix, _, target = request.headers.get("x-amz-target", "").rpartition(".")
    if target:
        return _named(model, target, "json") if prefix == metadata.get("targetPrefix") else None
    rpc = _RPC.search(request.path)
    if rpc:
        return _named(model, rpc[1], "smithy-rpc-v2-cbor")
    fields = parse_qs(request.query) | _form(request)
    if "Action" in fields and metadata["protocol"] not in ("rest-json", "rest-xml"):
        if fields.get("Version", [model.api_version]) != [model.api_version]:
            return None
        return _named(model, fields["Action"][0], "ec2" if metadata["protocol"] == "ec2" else "query")
    if metadata["protocol"] in ("rest-json", "rest-xml"):
        return _routed(model, request, metadata["protocol"])
    return None


def _form(request: RawRequest) -> dict[str, list[str]]:
    if "x-www-form-urlencoded" not in request.headers.get("content-type", ""):
        return {}
    return parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True)


def _named(model: ServiceModel, name: str, protocol: str) -> tuple[OperationModel, str] | None:
    try:
        return model.operation_model(name), protocol
    except OperationNotFoundError:
        return None


def _routed(model: ServiceModel, request: RawRequest, protocol: str) -> tuple[OperationModel, str] | None:
    query = parse_qs(request.query, keep_blank_values=True)
    best: tuple[tuple[int, int], str] | None = None
    for route in _routes(model):
        if route.method != request.method or not route.path.fullmatch(unquote(request.path)):
            continue
        if any(key not in query or value not in ("", *query[key]) for key, value in route.literals.items()):
            continue
        if all(name in query for name in route.queries) and all(name in request.headers for name in route.headers):
            score = (len(route.literals) + len(route.queries) + len(route.headers), route.length)
            if best is None or score > best[0]:
                best = (score, route.name)
    return (model.operation_model(best[1]), protocol) if best else None


@dataclass(frozen=True)
class _Route:
    name: str
    method: str
    path: re.Pattern[str]
    literals: Mapping[str, str]
    queries: tuple[str, ...]
    headers: tuple[str, ...]
    length: int


@cache
def _routes(model: ServiceModel) -> tuple[_Route, ...]:
    return tuple(_route(model.operation_model(name)) for name in model.operation_names)


def _route(operation: OperationModel) -> _Route:
    path, _, query = operation.http["requestUri"].partition("?")
    literals = {key: value for key, _, value in (part.partition("=") for part in query.split("&")) if key}
    pattern = ""
    for part in re.split(r"(\{\w+\+?\})", path):
        if part.startswith("{"):
            pattern += ".+" if part.endswith("+}") else "[^/]+"
        else:
            pattern += re.escape(part)
    members = operation.input_shape.members if operation.input_shape else {}
    required = [members[name] for name in (operation.input_shape.required_members if operation.input_shape else [])]
    return _Route(
        name=operation.name,
        method=operation.http["method"],
        path=re.compile(pattern + "/?"),
        literals=literals,
        queries=tuple(m.serialization["name"] for m in required if m.serialization.get("location") == "querystring"),
        headers=tuple(m.serialization["name"].lower() for m in required if m.serialization.get("location") == "header"),
        length=len(re.sub(r"\{\w+\+?\}", "", path)),
    )
