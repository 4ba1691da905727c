"""Calls moto, which emulates ECR, WAF, CloudWatch and Application Auto Scaling, from ministack's process."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 10.0


class MotoClient:
    """Calls operations of services with the JSON protocol."""

    def __init__(self, url: str, access_key_id: str) -> None:
        """Create a client without a connection.

        Args:
            url: The address of moto.
            access_key_id: The access key id that requests to moto must name. moto checks no signature.
        """
        self._host = urlsplit(url).netloc
        self._access_key_id = access_key_id

    def post(
        self,
        service: str,
        region: str,
        target: str,
        parameters: Mapping[str, Any],
        missing: Sequence[str] = (),
        *,
        protocol: str = "1.1",
    ) -> dict[str, Any] | None:
        """Call an operation. Returns the answer, or None if the resource does not exist.

        Args:
            service: The name of the service in signatures, e.g. `wafv2`.
            region: The region.
            target: The value of the header `X-Amz-Target`.
            parameters: The parameters of the operation.
            missing: The codes of the errors for a resource that does not exist.
            protocol: The version of the JSON protocol that the service uses.

        Raises:
            OSError: moto does not answer, or answers with an error other than a missing resource.
        """
        credential = f"{self._access_key_id}/20260101/{region}/{service}/aws4_request"
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0",
            "Content-Type": f"application/x-amz-json-{protocol}",
            "X-Amz-Target": target,
        }
        operation = target.rpartition(".")[2]
        connection = http.client.HTTPConnection(self._host, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("POST", "/", json.dumps(parameters), headers)
            response = connection.getresponse()
            body = response.read()
        except http.client.HTTPException as error:
            raise OSError(f"moto's answer to {operation} is malformed: {error}") from None
        finally:
            connection.close()
        if response.status == 200:
            answer: dict[str, Any] = json.loads(body or b"{}")
            return answer
        if any(code.encode() in body for code in missing):
            return None
        raise OSError(
            f"moto answers {operation} with the status {response.status}: {body[:200].decode(errors='replace')}"
        )
