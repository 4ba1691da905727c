"""Calls a running stage as the stage's own processes do: over TLS, at the names of AWS's endpoints."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import boto3

from mjctl.local import emulated
from mjctl.local.credentials import AwsKey
from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.stage.names import published

_PUBLISHED_SECONDS = 15.0


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class StageCaller:
    """Calls a stage at the DNS names that the stage publishes."""

    def __init__(self, folder: Path, emulators: Emulators) -> None:
        self.emulators = emulators
        self._hosts = folder / "stage" / "hosts"
        self.bundle = folder / "stage" / "authority" / "bundle.pem"
        self.authority = folder / "stage" / "authority" / "authority.pem"

    def plain(self, service: str, region: str = "us-east-1") -> Any:
        """Return a client that calls ministack's own port with the operator's access key, as Terraform does."""
        return self.emulators.client(service, region)

    def published(self) -> dict[str, str]:
        """Return the IP address of each DNS name that the stage currently publishes."""
        return published(self._hosts)

    def address(self, name: str) -> str:
        """Wait until the stage publishes a DNS name, and return the IP address of the name."""
        deadline = time.monotonic() + _PUBLISHED_SECONDS
        while time.monotonic() < deadline:
            address = published(self._hosts).get(name)
            if address is not None:
                return address
            time.sleep(0.1)
        raise AssertionError(f"{name} has no address")

    def client(
        self, service: str, region: str = "us-east-1", key: Mapping[str, Any] | None = None, *, unsigned: bool = False
    ) -> Any:
        """Return a client that calls the name of AWS's endpoint.

        Args:
            service: boto3's name of the service.
            region: The region.
            key: `AccessKeyId`, `SecretAccessKey` and `SessionToken`; None for the operator's access key.
            unsigned: True to send no signature.
        """
        from botocore import UNSIGNED

        own = self.emulators.key
        chosen = key or {"AccessKeyId": own.access_key_id, "SecretAccessKey": own.secret_access_key}
        session = boto3.Session(botocore_session=emulated.session(AwsKey("unused", "unused")))
        options: dict[str, Any] = {"signature_version": UNSIGNED} if unsigned else {}
        return session.client(
            service,
            region_name=region,
            verify=str(self.bundle),
            aws_access_key_id=chosen["AccessKeyId"],
            aws_secret_access_key=chosen["SecretAccessKey"],
            aws_session_token=chosen.get("SessionToken"),
            config=emulated.client_config(
                ignore_configured_endpoint_urls=True, retries={"total_max_attempts": 1}, **options
            ),
        )

    @contextmanager
    def resolving(self) -> Iterator[None]:
        """Resolve the stage's names in this process during the block."""
        original = socket.getaddrinfo

        def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
            return original(published(self._hosts).get(str(host), host), *arguments, **options)

        with patch("socket.getaddrinfo", resolve):
            yield

    def https(
        self,
        host: str,
        path: str = "/",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        address: str | None = None,
        server_name: str | None = None,
    ) -> Answer:
        """Send a request over TLS.

        Args:
            host: The value of the header `Host`.
            path: The path of the URL.
            method: The HTTP method.
            headers: Headers other than `Host`.
            body: The body of the request.
            address: The IP address of the server; by default the published address of `host`.
            server_name: The name that the server's certificate must contain; by default `host`.
        """
        context = ssl.create_default_context(cafile=str(self.authority))
        raw = socket.create_connection((address or self.address(host), 443), timeout=20)
        connection = http.client.HTTPConnection(host, timeout=20)
        connection.sock = context.wrap_socket(raw, server_hostname=server_name or host)
        return _send(connection, method, path, headers, body)

    def http(self, host: str, path: str = "/", address: str | None = None) -> Answer:
        """Send a request without TLS to port 80."""
        connection = http.client.HTTPConnection(host, timeout=20)
        connection.sock = socket.create_connection((address or self.address(host), 80), timeout=20)
        return _send(connection, "GET", path, None, None)


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Mapping[str, str] | None,
    body: bytes | None,
) -> Answer:
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, response.read())
    finally:
        connection.close()


@contextmanager
def running(folder: Path, *others: str) -> Iterator[StageCaller]:
    """Run a stage during the block. `others` names the emulators beside ministack that run, e.g. `moto`."""
    with Emulators(folder, names=["ministack", *others], stage=True) as emulators:
        caller = StageCaller(folder, emulators)
        with caller.resolving():
            yield caller


def trust(principal: Mapping[str, str]) -> str:
    """Return a trust policy that allows a principal to assume the role."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def allow(action: str, resource: str) -> str:
    """Return a policy that allows an action on a resource."""
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
