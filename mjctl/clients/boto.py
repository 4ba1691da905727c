"""The one place where boto3 clients are made from a contract."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mjctl.clients.refusals import refusal
from mjctl.local import emulated
from mjctl.local.credentials import AwsKey, read_aws_key
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    import boto3

_NOT_FOUND_CODES = frozenset(
    {
        "ResourceNotFoundException",
        "NotFoundException",
        "NotFound",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "NoSuchBucket",
        "NoSuchKey",
        "ClusterNotFoundException",
        "DBClusterNotFoundFault",
        "GlobalClusterNotFoundFault",
        "LoadBalancerNotFound",
        "NoSuchDistribution",
        "ReplicationGroupNotFoundFault",
        "ServiceNotFoundException",
        "TargetGroupNotFound",
        "WAFNonexistentItemException",
    }
)
_THROTTLED_CODES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "EC2ThrottledException",
    }
)
# botocore's own texts are long and repeat the address.
_SHORTLY = {
    "ConnectTimeoutError": "no connection in time",
    "ReadTimeoutError": "no answer in time",
    "EndpointConnectionError": "connection refused",
    "ConnectionClosedError": "it closed the connection",
}
# Making a client is not thread-safe in boto3, and one session reads the service models once for all regions.
_session_lock = threading.Lock()
# By access key id; "" is the real AWS, with whatever credentials the operator's shell has.
_sessions: dict[str, boto3.Session] = {}


class ThrottledError(UnreachableError):
    """AWS has taken no note of the call: it may be made again."""


class RegionClients:
    """boto3 clients of one region, and a thread pool of its own to call them from asyncio.

    The pool belongs to the region, so that a region whose API hangs cannot use up the threads of the others.
    Use it as a context manager.

    Args:
        timeout_seconds: Bounds connecting, and each read.
        attempts: How often botocore tries a call, the first try included.
        repeat_closed: Try a call a second time at once if the connection was refused or closed, or AWS answered with a
            server error. A call that timed out is not repeated. For callers whose own time limit leaves no room for
            botocore's retries, which wait and repeat timeouts too.
    """

    def __init__(
        self, contract: Contract, *, timeout_seconds: float = 10.0, attempts: int = 3, repeat_closed: bool = False
    ) -> None:
        self._contract = contract
        self._repeat_closed = repeat_closed
        self._timeout = timeout_seconds
        self._attempts = attempts
        self._clients: dict[tuple[str, str], Any] = {}
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix=f"aws-{contract.region}")

    def __enter__(self) -> RegionClients:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop calls that have not begun; those under way end by their own timeout."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def emulated(self) -> bool:
        """Whether one process on this machine answers for AWS: what is done in parallel there only gets in the way."""
        return self._contract.aws.endpoint_url is not None

    def client(self, service: str, region: str | None = None) -> Any:
        """The boto3 client of `service`, made on first use; thread-safe. `region`: another than the contract's."""
        key = service, region or self._contract.region
        with _session_lock:
            if key not in self._clients:
                self._clients[key] = self._make(*key)
            return self._clients[key]

    async def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call one operation, e.g. `call("sqs", "get_queue_attributes", QueueUrl=...)`, off the event loop.

        Raises:
            NotFoundError, UnreachableError: by what the API answered, or that it did not.
        """
        return await self.call_in(self._contract.region, service, operation, **parameters)

    async def call_all(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call a listing operation until its last page, and return the answer as if it had one page.

        Every call of an operation that AWS cuts into pages goes through here, or a region with many resources looks
        like a region with few. botocore knows how each operation continues.

        Raises:
            As `call`.
        """
        loop = asyncio.get_running_loop()

        def invoke() -> dict[str, Any]:
            pages = self.client(service).get_paginator(operation).paginate(**parameters)
            whole: dict[str, Any] = pages.build_full_result()
            return whole

        return await self._explained(loop.run_in_executor(self._pool, self._repeating(invoke)), service, operation)

    async def call_in(self, region: str, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """As `call`, of another region: some parts of an environment exist in one region only."""
        loop = asyncio.get_running_loop()

        def invoke() -> dict[str, Any]:
            method: Callable[..., dict[str, Any]] = getattr(self.client(service, region), operation)
            return method(**parameters)

        return await self._explained(loop.run_in_executor(self._pool, self._repeating(invoke)), service, operation)

    def _repeating(self, invoke: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        if not self._repeat_closed:
            return invoke

        def twice() -> dict[str, Any]:
            try:
                return invoke()
            except Exception as error:
                if not _failed_at_once(error):
                    raise
            return invoke()

        return twice

    async def _explained(self, answer: asyncio.Future[dict[str, Any]], service: str, operation: str) -> dict[str, Any]:
        try:
            return await answer
        except Exception as error:
            translated = self.explain(error, f"{service}:{operation}")
            if translated is None:
                raise
            raise translated from error

    def explain(self, error: Exception, operation: str) -> MjctlError | None:
        """What `error` means to a person; None when it is not an AWS error."""
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"{self._contract.environment}, {self._contract.region}, {operation}"
        if self._contract.aws.endpoint_url:
            where += f" at {self._contract.aws.endpoint_url}"
        refused = refusal(error, where)
        if refused is not None:
            return refused
        if isinstance(error, ClientError):
            return self._refusal(error.response.get("Error", {}), where)
        if isinstance(error, BotoCoreError):
            cause = _SHORTLY.get(type(error).__name__)
            return unreachable(
                self._contract,
                f"the AWS API ({operation})",
                self._contract.aws.endpoint_url,
                OSError(cause) if cause else error,
            )
        return None

    def _refusal(self, answer: Mapping[str, Any], where: str) -> MjctlError:
        code, message = str(answer.get("Code", "")), str(answer.get("Message", ""))
        if code == "NoSuchBucket":
            return NotFoundError(
                f"there is no such bucket: {message or code}",
                where=where,
                hint="correct --store, or backup.store in the environment's file; the bucket of the stack itself comes "
                f"back by `mjctl deploy --env {self._contract.environment} --region {self._contract.region}`",
            )
        if code in _NOT_FOUND_CODES:
            return NotFoundError(
                f"AWS does not know what was named: {message or code}",
                where=where,
                hint=f"`mjctl deploy --env {self._contract.environment} --region {self._contract.region}` "
                "puts back what is gone",
            )
        if code in _THROTTLED_CODES:
            hint = "wait a little, then repeat the command"
            return ThrottledError(f"AWS throttles the call: {code}: {message}", where=where, hint=hint)
        return UnreachableError(f"AWS answered with {code}: {message}", where=where)

    def _make(self, service: str, region: str) -> Any:
        from botocore.config import Config

        session: Any = self._session()
        options: dict[str, Any] = {
            "connect_timeout": min(self._timeout, 5.0),
            "read_timeout": self._timeout,
            "retries": {"mode": "standard", "total_max_attempts": self._attempts},
            "max_pool_connections": 16,
            "user_agent_extra": "mjctl",
        }
        client = session.client(
            service,
            region_name=region,
            endpoint_url=self._endpoint(session, service),
            verify=self._contract.ca_file,
            config=emulated.client_config(**options) if self.emulated else Config(**options),
        )
        return emulated.sign_everything(client) if self.emulated else client

    def _session(self) -> boto3.Session:
        """The session with the operator's credentials; towards an emulated AWS, one that has its key alone."""
        import boto3

        key = self._emulators_key() if self.emulated else None
        name = key.access_key_id if key else ""
        if name not in _sessions:
            _sessions[name] = boto3.Session(botocore_session=emulated.session(key)) if key else boto3.Session()
        return _sessions[name]

    def _emulators_key(self) -> AwsKey:
        access = self._contract.aws
        if access.secret is None:
            # A region that an earlier version deployed: its emulated AWS takes any key.
            return AwsKey(access.account_id, "emulated")
        file = Path(access.secret.removeprefix("file:"))
        key = read_aws_key(file)
        if key is None:
            raise NotFoundError(
                "the key of the emulated AWS is missing",
                where=str(file),
                hint="`mjctl sandbox up` makes it again"
                if self._contract.target == "sandbox"
                else f"`mjctl deploy --env {self._contract.environment} --region {self._contract.region}` "
                "makes it again",
            )
        return key

    def _endpoint(self, session: Any, service: str) -> str | None:
        access = self._contract.aws
        if not access.service_endpoint_urls:
            return access.endpoint_url
        # The name that AWS's own AWS_ENDPOINT_URL_<SERVICE> has, in lower case.
        name = session._session.get_service_model(service).service_id.replace(" ", "_").lower()
        return access.service_endpoint_urls.get(name, access.endpoint_url)


def _failed_at_once(error: Exception) -> bool:
    from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= 500
    return isinstance(error, (ConnectionClosedError, EndpointConnectionError))


def unreachable(contract: Contract, part: str, address: str | None, cause: BaseException) -> UnreachableError:
    """The error for a part that did not answer: names part, region and address, and what to do."""
    reason = str(cause) or type(cause).__name__
    scope = f"--env {contract.environment} --region {contract.region}"
    return UnreachableError(
        f"{part} does not answer: {reason}",
        where=", ".join(filter(None, (contract.environment, contract.region, address))),
        hint=f"`mjctl health {scope}` shows what is down; `mjctl deploy {scope}` puts it back",
    )
