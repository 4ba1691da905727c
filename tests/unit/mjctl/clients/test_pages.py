"""Tests that listings read every page. botocore knows which operations have pages."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

import mjctl
from mjctl.clients import snapshots
from mjctl.clients.boto import RegionClients
from mjctl.clients.metrics import Metric, newest
from mjctl.models.contract import Contract

MakeContract = Callable[..., Contract]

_READS_PAGE_BY_PAGE = {
    ("dynamodb", "scan"): "a table does not fit into memory: mjctl/backup/tables.py follows its keys"
}

_METHODS = ("call", "call_all", "call_in")


def _calls() -> list[tuple[str, str, str, str]]:
    """List every AWS call in mjctl: its place, the method of RegionClients, the service and the operation."""
    root = Path(mjctl.__file__).parent
    services = set(boto3.Session().get_available_services())
    calls = []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            words = [item.value for item in node.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
            if node.func.attr in _METHODS and len(words) >= 2 and words[-2] in services:
                calls.append((f"{path.relative_to(root)}:{node.lineno}", node.func.attr, words[-2], words[-1]))
    return calls


def test_every_operation_with_pages_is_called_for_all_pages() -> None:
    session = boto3.Session(region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    clients: dict[str, Any] = {}
    calls = _calls()
    assert len(calls) > 50, "the search for calls finds nothing any more"
    for place, method, service, operation in calls:
        client = clients.setdefault(service, session.client(service))
        assert hasattr(client, operation), f"{place}: {service} has no operation {operation}"
        if (service, operation) in _READS_PAGE_BY_PAGE:
            continue
        expected = ("call_all",) if client.can_paginate(operation) else ("call", "call_in")
        assert method in expected, f"{place}: {service}.{operation} needs {expected[0]}"


@pytest.fixture
def clients(make_contract: MakeContract) -> RegionClients:
    return RegionClients(
        make_contract(target="aws", aws={"account_id": "000000000000", "endpoint_url": "http://127.0.0.1:1"})
    )


def cluster(number: int) -> dict[str, str]:
    return {"DBClusterIdentifier": f"c{number}", "Endpoint": f"c{number}.example"}


async def test_a_cluster_beyond_the_first_page_is_found(clients: RegionClients, make_contract: MakeContract) -> None:
    contract = make_contract(target="aws")
    contract = contract.model_copy(update={"database": contract.database.model_copy(update={"host": "c150.example"})})
    with Stubber(clients.client("rds")) as stub:
        stub.add_response(
            "describe_db_clusters", {"DBClusters": [cluster(number) for number in range(100)], "Marker": "more"}, {}
        )
        stub.add_response(
            "describe_db_clusters", {"DBClusters": [cluster(number) for number in range(100, 160)]}, {"Marker": "more"}
        )
        assert await snapshots.cluster_of(contract, clients) == "c150"


async def test_snapshots_of_every_page_are_listed(clients: RegionClients) -> None:
    def snapshot(number: int) -> dict[str, str]:
        return {"DBClusterIdentifier": "c", "DBClusterSnapshotIdentifier": f"s{number}", "Status": "available"}

    with Stubber(clients.client("rds")) as stub:
        for page, marker in enumerate(["a", "b", None]):
            answer = {"DBClusterSnapshots": [snapshot(2 * page), snapshot(2 * page + 1)]}
            request = {"DBClusterIdentifier": "c"} | ({"Marker": "ab"[page - 1]} if page else {})
            stub.add_response("describe_db_cluster_snapshots", answer | ({"Marker": marker} if marker else {}), request)
        listed = await snapshots.cluster_snapshots(clients, "c")
    assert [item.backup_id for item in listed] == [f"s{number}" for number in range(6)]


async def test_a_metric_of_the_second_page_is_returned_with_its_newest_value(clients: RegionClients) -> None:
    metrics = {name: Metric("N", name, {}) for name in ("first", "second")}
    with Stubber(clients.client("cloudwatch")) as stub:
        for token, results in (
            ("more", [{"Id": "m0", "Values": [3.0, 2.0]}]),
            (None, [{"Id": "m0", "Values": [1.0]}, {"Id": "m1", "Values": [7.0]}]),
        ):
            stub.add_response(
                "get_metric_data", {"MetricDataResults": results} | ({"NextToken": token} if token else {})
            )
        assert await newest(clients, metrics) == {"first": 3.0, "second": 7.0}


async def test_more_than_500_metrics_are_requested_by_several_calls(
    clients: RegionClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    async def call_all(service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        queries = parameters["MetricDataQueries"]
        counts.append(len(queries))
        json.dumps((service, operation))
        return {"MetricDataResults": [{"Id": query["Id"], "Values": [1.0]} for query in queries]}

    monkeypatch.setattr(clients, "call_all", call_all)
    metrics = {f"metric {number}": Metric("N", str(number), {}) for number in range(1_100)}
    assert await newest(clients, metrics) == dict.fromkeys(metrics, 1.0)
    assert counts == [500, 500, 100]
