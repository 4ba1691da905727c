"""Tests the load balancers of a stage with real connections through the proxy to real servers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gameserver.runtime.own_certificate import OwnCertificate
from mjctl.files import read_json
from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.stage.layout import certificate_file, names_file
from tests.integration.mjctl.sandbox.stage.backends import (
    REGION,
    LoadBalancer,
    ask,
    backends,
    balanced,
    upgraded,
    wait_for,
)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Emulators, Path]]:
    folder = tmp_path_factory.mktemp("balancers")
    with Emulators(folder, names=["ministack", "moto"], stage=True) as emulators:
        yield emulators, folder


def content(response: Any) -> Any:
    return json.loads(response.content)


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := connection.recv(size - len(data))):
        data += part
    return data


def test_requests_are_forwarded_with_the_headers_of_a_load_balancer(running: tuple[Emulators, Path]) -> None:
    with balanced(running, "forward") as (balancer, [backend]):
        balancer.attributes(routing__http__drop_invalid_header_fields__enabled="true")
        time.sleep(0.7)
        sent = {
            "Host": "play.example.com:9",
            "X-Forwarded-For": "203.0.113.9",
            "X_Odd": "1",
            "X-Amzn-Trace-Id": "Root=1-a",
        }
        headers = content(ask(balancer, "/any?x=1", headers=sent))["headers"]
    assert backend.requests[0][0] == "/any?x=1"
    assert headers["host"] == "play.example.com:8080"
    assert headers["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("http", "8080")
    assert headers["x-amzn-trace-id"].startswith("Self=1-")
    assert headers["x-amzn-trace-id"].endswith(";Root=1-a")
    assert "x_odd" not in headers


def test_a_connection_carries_several_requests_with_bodies(running: tuple[Emulators, Path]) -> None:
    with balanced(running, "bodies") as (balancer, [backend]):
        connection = http.client.HTTPConnection(balancer.address, balancer.port, timeout=10)
        answers = []
        for path, body in [("/a", b"x" * 300_000), ("/b", iter([b"chunk", b"of bytes"])), ("/c", b"")]:
            connection.request("POST", path, body, encode_chunked=True)
            answers.append(connection.getresponse().read())
        connection.request("GET", "/chunked")
        answers.append(connection.getresponse().read())
        connection.request("HEAD", "/any")
        assert connection.getresponse().read() == b""
        connection.request("GET", "/until_close")
        answers.append(connection.getresponse().read())
    assert answers == [b"300000", b"13", b"0", b"onethree", b"all of it"]
    assert [path for path, _ in backend.requests] == ["/a", "/b", "/c", "/chunked", "/any", "/until_close"]


def test_a_malformed_request_gets_400_and_never_reaches_a_target(running: tuple[Emulators, Path]) -> None:
    smuggled = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with balanced(running, "malformed") as (balancer, [backend]):
        for request in (
            b"hello\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nbad\r\n\r\n",
            smuggled,
        ):
            with socket.create_connection((balancer.address, balancer.port), timeout=10) as connection:
                connection.sendall(request)
                assert connection.recv(4096).startswith(b"HTTP/1.1 400 Bad Request\r\nServer: awselb/2.0\r\n"), request
        assert backend.requests == []


def test_websockets_pass_both_ways_and_end_with_either_side(running: tuple[Emulators, Path]) -> None:
    data = os.urandom(3_000_000)
    with balanced(running, "websocket") as (balancer, [backend]):
        with upgraded(balancer) as connection:
            connection.setblocking(True)
            connection.sendall(b"small")
            assert receive(connection, 5) == b"small"
            for start in range(0, len(data), 50_000):
                connection.sendall(data[start : start + 50_000])
                assert receive(connection, 50_000) == data[start : start + 50_000]
        assert dict(backend.requests[0][1])["Connection"] == "Upgrade"
        assert dict(backend.requests[0][1])["X-Forwarded-For"] == "127.0.0.1"


def test_a_group_with_https_reaches_targets_by_tls_with_any_certificate(running: tuple[Emulators, Path]) -> None:
    with backends(2) as [encrypted, clear]:
        encrypted.encrypt(OwnCertificate().for_load_balancer())
        balancer = LoadBalancer(*running, "https-targets", Protocol="HTTPS", HealthCheckProtocol="HTTPS")
        balancer.register(encrypted, clear)
        balancer.wait_until_healthy(encrypted)
        wait_for(lambda: balancer.states()[clear.address] == "unhealthy")
        time.sleep(0.7)
        assert {content(ask(balancer))["address"] for _ in range(3)} == {encrypted.address}
        with upgraded(balancer) as connection:
            connection.sendall(b"small")
            assert receive(connection, 5) == b"small"
    assert clear.requests == []


@pytest.mark.parametrize("algorithm", ["round_robin", "least_outstanding_requests"])
def test_the_algorithm_of_the_group_spreads_connections(running: tuple[Emulators, Path], algorithm: str) -> None:
    with (
        balanced(running, algorithm.replace("_", "-")[:20], number=3) as (balancer, targets),
        contextlib.ExitStack() as open_,
    ):
        balancer.group_attributes(load_balancing__algorithm__type=algorithm)
        time.sleep(0.7)
        for _ in range(6):
            open_.enter_context(upgraded(balancer))
        assert [len(backend.requests) for backend in targets] == [2, 2, 2]


def test_least_outstanding_requests_prefers_the_free_target(running: tuple[Emulators, Path]) -> None:
    with balanced(running, "least", number=2) as (balancer, targets):
        balancer.group_attributes(load_balancing__algorithm__type="least_outstanding_requests")
        time.sleep(0.7)
        with upgraded(balancer):
            [busy] = [backend for backend in targets if backend.requests]
            [free] = [backend for backend in targets if not backend.requests]
            addresses = {content(ask(balancer))["address"] for _ in range(4)}
        assert addresses == {free.address}
        assert len(busy.requests) == 1


def test_an_unhealthy_target_gets_no_requests_unless_all_are_unhealthy(running: tuple[Emulators, Path]) -> None:
    with balanced(running, "unhealthy", number=2) as (balancer, [first, second]):
        first.status = 503
        wait_for(lambda: balancer.states()[first.address] == "unhealthy")
        time.sleep(0.7)
        assert {content(ask(balancer))["address"] for _ in range(4)} == {second.address}
        second.status = 503
        wait_for(lambda: balancer.states()[second.address] == "unhealthy")
        time.sleep(0.7)
        assert {content(ask(balancer))["address"] for _ in range(4)} == {first.address, second.address}
        balancer.deregister(first, second)
        time.sleep(0.7)
        assert ask(balancer).status == 503


def test_faults_of_targets_become_502_and_504(running: tuple[Emulators, Path]) -> None:
    with balanced(running, "faults") as (balancer, [backend]):
        for path in ("/close", "/garbage"):
            response = ask(balancer, path)
            assert (response.status, response.getheader("Server")) == (502, "awselb/2.0")
        with pytest.raises(http.client.IncompleteRead):
            ask(balancer, "/partial")
        balancer.attributes(idle_timeout__timeout_seconds=1)
        time.sleep(0.7)
        began = time.monotonic()
        assert ask(balancer, "/slow").status == 504
        assert time.monotonic() - began == pytest.approx(1, abs=0.5)
        backend.stop()
        assert ask(balancer).status == 502


def test_the_idle_timeout_ends_silent_connections_and_not_those_with_traffic_in_one_direction(
    running: tuple[Emulators, Path],
) -> None:
    with balanced(running, "idle") as (balancer, _):
        balancer.attributes(idle_timeout__timeout_seconds=2)
        time.sleep(0.7)
        with (
            upgraded(balancer) as silent,
            upgraded(balancer) as busy,
            socket.create_connection((balancer.address, balancer.port), timeout=10) as unused,
            socket.create_connection((balancer.address, balancer.port), timeout=10) as started,
        ):
            started.sendall(b"GET / HTTP/1.1\r\n")
            began = time.monotonic()
            for _ in range(5):
                busy.sendall(b"x")
                time.sleep(0.7)
            assert silent.recv(10) == b""
            assert unused.recv(10) == b""
            assert started.recv(100).startswith(b"HTTP/1.1 408 ")
            assert time.monotonic() - began < 5
            busy.sendall(b"y")
            assert receive(busy, 6) == b"xxxxxy"


def test_a_deregistered_target_keeps_its_websockets_for_the_delay(running: tuple[Emulators, Path]) -> None:
    with balanced(running, "drain", number=2) as (balancer, [first, second]):
        balancer.group_attributes(deregistration_delay__timeout_seconds=3)
        connections = [upgraded(balancer), upgraded(balancer)]
        [on_first] = [connection for connection in connections if _server(connection) == first.address]
        time.sleep(1)
        balancer.deregister(first)
        began = time.monotonic()
        time.sleep(2)
        assert balancer.states()[first.address] == "draining"
        on_first.sendall(b"still here")
        assert receive(on_first, 10) == b"still here"
        assert {content(ask(balancer))["address"] for _ in range(3)} == {second.address}
        with contextlib.suppress(ConnectionResetError):
            assert on_first.recv(10) == b""
        assert time.monotonic() - began == pytest.approx(3, abs=1.2)
        assert balancer.states() == {second.address: "healthy"}
        for connection in connections:
            connection.close()


def _server(connection: socket.socket) -> str:
    """Return the address of the backend at the other end of a WebSocket."""
    connection.sendall(b"who?")
    return connection.recv(100).decode()


def test_redirects_and_fixed_responses_follow_the_rules(running: tuple[Emulators, Path]) -> None:
    with balanced(running, "rules") as (balancer, _):
        redirect = {
            "Type": "redirect",
            "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"},
        }
        fixed = {
            "Type": "fixed-response",
            "FixedResponseConfig": {"StatusCode": "418", "ContentType": "text/plain", "MessageBody": "teapot"},
        }
        for priority, (condition, action) in enumerate(
            [
                ({"Field": "path-pattern", "Values": ["/old/*"]}, redirect),
                ({"Field": "host-header", "Values": ["*.Example.net"]}, fixed),
                (
                    {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Tea", "Values": ["yes"]}},
                    fixed,
                ),
            ],
            1,
        ):
            balancer.api.create_rule(
                ListenerArn=balancer.listener, Priority=priority, Conditions=[condition], Actions=[action]
            )
        time.sleep(0.7)
        moved = ask(balancer, "/old/a?b=1", headers={"Host": "play.example.com:8080"})
        assert moved.status == 301
        assert moved.getheader("Location") == "https://play.example.com:443/old/a?b=1"
        for response in (ask(balancer, headers={"Host": "a.example.NET"}), ask(balancer, headers={"X-Tea": "YES"})):
            assert (response.status, response.content) == (418, b"teapot")  # type: ignore[attr-defined]
        assert ask(balancer, "/older").status == 200


def test_tls_uses_the_certificate_of_the_listener(running: tuple[Emulators, Path]) -> None:
    emulators, folder = running
    with balanced(running, "tls") as (balancer, _):
        certificates = emulators.client("acm", REGION)
        with pytest.raises(ClientError, match="CertificateNotFound"):
            balancer.listen(8443, Protocol="HTTPS", Certificates=[{"CertificateArn": "arn:aws:acm:::certificate/none"}])
        arn = certificates.request_certificate(
            DomainName="play.example.com", SubjectAlternativeNames=["*.play.example.com"], ValidationMethod="DNS"
        )["CertificateArn"]
        wait_for(lambda: certificates.describe_certificate(CertificateArn=arn)["Certificate"]["Status"] == "ISSUED")
        balancer.listen(8443, Protocol="HTTPS", Certificates=[{"CertificateArn": arn}])
        balancer.port = 8443
        context = ssl.create_default_context(cafile=str(certificate_file(folder / "stage" / "authority")))
        for name in ("play.example.com", "eu.play.example.com"):
            with (
                socket.create_connection((balancer.address, 8443), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname=name) as connection,
            ):
                connection.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                answer = receive(connection, 100_000)
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert b'"x-forwarded-proto": "https"' in answer
        with (
            socket.create_connection((balancer.address, 8443), timeout=10) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(plain, server_hostname="other.example.com")


def test_a_record_of_route_53_leads_to_the_load_balancer(running: tuple[Emulators, Path]) -> None:
    emulators, folder = running
    balancer = LoadBalancer(*running, "alias")
    dns = emulators.client("route53", REGION)
    zone = dns.create_hosted_zone(Name="example.org", CallerReference="alias")["HostedZone"]["Id"]
    alias = {"HostedZoneId": "Z35SXDOTRQ7X7K", "DNSName": balancer.dns_name, "EvaluateTargetHealth": True}
    record = {"Name": "play.example.org", "Type": "A", "AliasTarget": alias}
    change = {"Action": "UPSERT", "ResourceRecordSet": record}
    dns.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [change]})
    published = names_file(folder / "stage")
    wait_for(lambda: read_json(published).get("play.example.org") == balancer.address)


def test_protected_and_used_resources_are_not_deleted(running: tuple[Emulators, Path]) -> None:
    balancer = LoadBalancer(*running, "protected")
    balancer.attributes(deletion_protection__enabled="true")
    with pytest.raises(ClientError, match="OperationNotPermitted"):
        balancer.api.delete_load_balancer(LoadBalancerArn=balancer.arn)
    with pytest.raises(ClientError, match="ResourceInUse"):
        balancer.api.delete_target_group(TargetGroupArn=balancer.group)
    address = balancer.address
    balancer.attributes(deletion_protection__enabled="false")
    balancer.api.delete_load_balancer(LoadBalancerArn=balancer.arn)
    described = balancer.api.describe_target_groups(TargetGroupArns=[balancer.group])["TargetGroups"]
    assert described[0]["LoadBalancerArns"] == []
    balancer.api.delete_target_group(TargetGroupArn=balancer.group)

    def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((address, balancer.port)) != 0

    wait_for(refused)


def test_unchanged_ministack_deletes_what_aws_protects_and_accepts_a_listener_without_a_certificate(
    tmp_path: Path,
) -> None:
    with Emulators(tmp_path, names=["ministack"]) as emulators:
        balancer = LoadBalancer(emulators, tmp_path, "unchanged")
        balancer.attributes(deletion_protection__enabled="true")
        balancer.listen(8443, Protocol="HTTPS")
        balancer.api.delete_load_balancer(LoadBalancerArn=balancer.arn)
        described = balancer.api.describe_target_groups(TargetGroupArns=[balancer.group])["TargetGroups"]
        assert described[0]["LoadBalancerArns"] == [balancer.arn]
        second = LoadBalancer(emulators, tmp_path, "second")
        second.api.delete_target_group(TargetGroupArn=second.group)
