"""Runs test servers as targets of load balancers, and creates load balancers that forward requests to the servers."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mjctl.files import read_json
from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.stage.layout import names_file

REGION = "eu-west-1"
UPGRADE = b"GET /play HTTP/1.1\r\nHost: play.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


class Backend:
    """Runs an HTTP server on its own address.

    Attributes:
        status: The status of the answers to health checks.
        requests: The paths and headers of all requests except health checks.
        checks: The times of the health checks.
    """

    def __init__(self, address: str) -> None:
        self.status = 200
        self.requests: list[tuple[str, list[tuple[str, str]]]] = []
        self.checks: list[float] = []
        self._server = ThreadingHTTPServer((address, 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return str(self._server.server_address[0])

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def target(self) -> dict[str, Any]:
        return {"Id": self.address, "Port": self.port}

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Accept only TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(backend: Backend) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                if self.path == "/health":
                    backend.checks.append(time.monotonic())
                    self._respond(backend.status, b"")
                    return
                backend.requests.append((self.path, self.headers.items()))
                if self.headers.get("Upgrade") == "websocket":
                    self._echo()
                    return
                getattr(self, f"_{self.path.strip('/').partition('?')[0].partition('/')[0]}", self._default)()

            do_HEAD = do_GET

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", -1))
                size = len(self.rfile.read(length)) if length >= 0 else self._chunks()
                backend.requests.append((self.path, self.headers.items()))
                self._respond(200, str(size).encode())

            def _chunks(self) -> int:
                total = 0
                while size := int(self.rfile.readline(), 16):
                    total += len(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return total

            def _default(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                self._respond(200, json.dumps({"address": backend.address, "headers": headers}).encode())

            def _slow(self) -> None:
                time.sleep(3)
                self._respond(200, b"late")

            def _close(self) -> None:
                self.close_connection = True

            def _garbage(self) -> None:
                self.wfile.write(b"this is not HTTP\r\n\r\n")
                self.close_connection = True

            def _partial(self) -> None:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
                self.close_connection = True

            def _chunked(self) -> None:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for part in (b"one", b"three"):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")

            def _until_close(self) -> None:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
                self.close_connection = True

            def _echo(self) -> None:
                self.wfile.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
                )
                while data := self.connection.recv(65_536):
                    self.connection.sendall(backend.address.encode() if data == b"who?" else data)
                self.close_connection = True

            def _respond(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        return Handler


@contextmanager
def backends(number: int, first: int = 10) -> Iterator[list[Backend]]:
    """Run backends on different addresses."""
    running = [Backend(f"127.0.0.{first + index}") for index in range(number)]
    try:
        yield running
    finally:
        for backend in running:
            backend.stop()


def wait_for(condition: Callable[[], Any], seconds: float = 15) -> Any:
    """Wait until `condition` returns a true value, and return the value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.05)
    return value


class LoadBalancer:
    """Creates a load balancer with a target group by AWS's API."""

    def __init__(self, running: Emulators, folder: Path, name: str, port: int = 8080, **group: Any) -> None:
        self.api = running.client("elbv2", REGION)
        # AWS's shortest interval of health checks is 5 s. Shorter intervals save time in tests, so botocore must not
        # validate the interval.
        self.api._serializer = self.api._serializer._serializer
        self._names = names_file(folder / "stage")
        self.port = port
        balancer = self.api.create_load_balancer(Name=name, Subnets=[])["LoadBalancers"][0]
        self.arn, self.dns_name = balancer["LoadBalancerArn"], balancer["DNSName"]
        settings: dict[str, Any] = {
            "Protocol": "HTTP",
            "Port": 80,
            "TargetType": "ip",
            "HealthCheckPath": "/health",
            "HealthCheckIntervalSeconds": 1,
            "HealthCheckTimeoutSeconds": 1,
            "HealthyThresholdCount": 2,
            "UnhealthyThresholdCount": 2,
        }
        self.group = self.api.create_target_group(Name=name, **{**settings, **group})["TargetGroups"][0][
            "TargetGroupArn"
        ]
        self.listener = self.listen(port)

    def listen(self, port: int, actions: list[dict[str, Any]] | None = None, **options: Any) -> str:
        default = actions or [{"Type": "forward", "TargetGroupArn": self.group}]
        listener = self.api.create_listener(
            LoadBalancerArn=self.arn, Port=port, DefaultActions=default, **{"Protocol": "HTTP", **options}
        )
        return str(listener["Listeners"][0]["ListenerArn"])

    def register(self, *targets: Backend) -> None:
        self.api.register_targets(TargetGroupArn=self.group, Targets=[backend.target for backend in targets])

    def deregister(self, *targets: Backend) -> None:
        self.api.deregister_targets(TargetGroupArn=self.group, Targets=[backend.target for backend in targets])

    def group_attributes(self, **attributes: Any) -> None:
        self._set(self.api.modify_target_group_attributes, "TargetGroupArn", self.group, attributes)

    def attributes(self, **attributes: Any) -> None:
        self._set(self.api.modify_load_balancer_attributes, "LoadBalancerArn", self.arn, attributes)

    @staticmethod
    def _set(call: Callable[..., Any], key: str, arn: str, attributes: dict[str, Any]) -> None:
        pairs = [{"Key": name.replace("__", "."), "Value": str(value)} for name, value in attributes.items()]
        call(**{key: arn, "Attributes": pairs})

    def health(self) -> dict[str, dict[str, Any]]:
        """Return the health of each target, by the target's address."""
        described = self.api.describe_target_health(TargetGroupArn=self.group)["TargetHealthDescriptions"]
        return {entry["Target"]["Id"]: entry["TargetHealth"] for entry in described}

    def states(self) -> dict[str, str]:
        return {address: health["State"] for address, health in self.health().items()}

    def wait_until_healthy(self, *targets: Backend) -> None:
        wait_for(lambda: all(self.states().get(backend.address) == "healthy" for backend in targets))
        # ministack's process sends routes to the proxy twice a second, so wait until the proxy has the new routes.
        time.sleep(0.7)

    @property
    def address(self) -> str:
        """Return the address of the load balancer as soon as the proxy listens there."""

        def found() -> str | None:
            address = read_json(self._names).get(self.dns_name)
            if address is None:
                return None
            with socket.socket() as probe:
                return str(address) if probe.connect_ex((address, self.port)) == 0 else None

        return str(wait_for(found))


@contextmanager
def balanced(
    running: tuple[Emulators, Path], name: str, number: int = 1, **group: Any
) -> Iterator[tuple[LoadBalancer, list[Backend]]]:
    """Run backends behind a load balancer, and wait until the load balancer forwards requests to the backends."""
    with backends(number) as targets:
        balancer = LoadBalancer(*running, name, **group)
        balancer.register(*targets)
        balancer.wait_until_healthy(*targets)
        yield balancer, targets


def ask(balancer: LoadBalancer, path: str = "/", method: str = "GET", **options: Any) -> http.client.HTTPResponse:
    with contextlib.closing(http.client.HTTPConnection(balancer.address, balancer.port, timeout=20)) as connection:
        connection.request(method, path, **options)
        response = connection.getresponse()
        response.content = response.read()  # type: ignore[attr-defined]
    return response


def upgraded(balancer: LoadBalancer) -> socket.socket:
    """Return a connection after the handshake of a WebSocket."""
    connection = socket.create_connection((balancer.address, balancer.port), timeout=10)
    connection.sendall(UPGRADE)
    answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return connection
