"""AWS clients of a deployed region. Only this module creates boto3 clients from a contract."""

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
# Short reasons that replace botocore's texts of connection errors, which are long and repeat the address.
_SHORTLY = {
    "ConnectTimeoutError": "no connection in time",
    "ReadTimeoutError": "no answer in time",
    "EndpointConnectionError": "connection refused",
    "ConnectionClosedError": "the API closed the connection",
}
# boto3 cannot create clients in several threads at the same time. Regions with the same credentials share a boto3
# session, so that botocore reads the model of each AWS service only once.
_session_lock = threading.Lock()
# The boto3 sessions by access key id: a session for each emulated AWS, and "" for the real AWS, whose session uses the
# credentials of the operator's shell.
_sessions: dict[str, boto3.Session] = {}


class ThrottledError(UnreachableError):
    """Reports that AWS throttled a call and did not execute it; the call may be repeated."""


class RegionClients:
    """Calls the AWS APIs of a region from asyncio, with boto3 clients in a pool of threads.

    Each region has its own pool, so that a region whose API hangs cannot use up the threads of other regions. Use
    `RegionClients` as a context manager.

    Args:
        contract: The contract of the region.
        timeout_seconds: The time limit of each read from a connection. The time limit of connecting is
            `timeout_seconds` too, but at most 5 seconds.
        attempts: How often botocore tries a call at most, including the first try.
        repeat_closed: Repeat a call once, without a pause, if the connection was refused or closed, or if AWS answered
            with a status of 500 or above. `repeat_closed` does not repeat a call that timed out. Callers set
            `repeat_closed` if their time limit is too short for botocore's retries, which wait and also repeat calls
            that timed out.
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
        """Cancel the calls to AWS that have not started.

        `close` does not stop a running call to AWS, which continues until its answer or its time limit.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def emulated(self) -> bool:
        """Return whether the region uses an emulated AWS.

        One process of an emulated AWS answers all calls to a service, so parallel calls are not faster.
        """
        return self._contract.aws.endpoint_url is not None

    def client(self, service: str, region: str | None = None) -> Any:
        """Return the boto3 client of `service`, which several threads may use.

        Args:
            service: The name of the service in boto3.
            region: The region, by default that of the contract.
        """
        key = service, region or self._contract.region
        with _session_lock:
            if key not in self._clients:
                self._clients[key] = self._make(*key)
            return self._clients[key]

    async def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation in a thread, e.g. `call("sqs", "get_queue_attributes", QueueUrl=...)`.

        Raises:
            NotFoundError: the resource does not exist.
            PermissionDeniedError: there are no credentials, or AWS refuses the call.
            ThrottledError: AWS throttled the call.
            UnreachableError: AWS does not answer, or answers with another error.
        """
        return await self.call_in(self._contract.region, service, operation, **parameters)

    async def call_all(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call a listing operation until its last page, and return all pages as a single answer.

        Use `call_all` for every operation whose answers AWS splits into pages, because `call` returns the first page
        only. The paginator of botocore requests the next pages of the operation.

        Raises:
            NotFoundError: the resource does not exist.
            PermissionDeniedError: there are no credentials, or AWS refuses the call.
            ThrottledError: AWS throttled the call.
            UnreachableError: AWS does not answer, or answers with another error.
        """
        loop = asyncio.get_running_loop()

        def invoke() -> dict[str, Any]:
            pages = self.client(service).get_paginator(operation).paginate(**parameters)
            whole: dict[str, Any] = pages.build_full_result()
            return whole

        return await self._explained(loop.run_in_executor(self._pool, self._repeating(invoke)), service, operation)

    async def call_in(self, region: str, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation as `call` does, but in the AWS region `region`.

        Some parts of an environment exist in one region only, e.g. the user pool.
        """
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
        """Convert an exception of boto3 into an error for operators, and any exception of another library into None.

        Args:
            error: The exception.
            operation: The API operation, for the error's place.
        """
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
                f"the bucket does not exist: {message or code}",
                where=where,
                hint="correct --store, or backup.store in the environment's file; to create the stack's own bucket "
                "again, "
                f"run `mjctl deploy --env {self._contract.environment} --region {self._contract.region}`",
            )
        if code in _NOT_FOUND_CODES:
            return NotFoundError(
                f"the AWS resource does not exist: {message or code}",
                where=where,
                hint=f"`mjctl deploy --env {self._contract.environment} --region {self._contract.region}` "
                "creates missing resources again",
            )
        if code in _THROTTLED_CODES:
            hint = "wait for some seconds, then repeat the command"
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
        """Return the boto3 session that uses the operator's credentials, or only the key of an emulated AWS."""
        import boto3

        key = self._emulators_key() if self.emulated else None
        name = key.access_key_id if key else ""
        if name not in _sessions:
            _sessions[name] = boto3.Session(botocore_session=emulated.session(key)) if key else boto3.Session()
        return _sessions[name]

    def _emulators_key(self) -> AwsKey:
        access = self._contract.aws
        if access.secret is None:
            # A contract of an earlier version of mjctl names no access key, because the emulated AWS of that version
            # accepts any access key.
            return AwsKey(access.account_id, "emulated")
        file = Path(access.secret.removeprefix("file:"))
        key = read_aws_key(file)
        if key is None:
            raise NotFoundError(
                "the key of the emulated AWS is missing",
                where=str(file),
                hint="`mjctl sandbox up` creates a new key"
                if self._contract.target == "sandbox"
                else f"`mjctl deploy --env {self._contract.environment} --region {self._contract.region}` "
                "creates a new key",
            )
        return key

    def _endpoint(self, session: Any, service: str) -> str | None:
        access = self._contract.aws
        if not access.service_endpoint_urls:
            return access.endpoint_url
        # The contract names a service as AWS's variable AWS_ENDPOINT_URL_<SERVICE> does, but in lower case.
        name = session._session.get_service_model(service).service_id.replace(" ", "_").lower()
        return access.service_endpoint_urls.get(name, access.endpoint_url)


def _failed_at_once(error: Exception) -> bool:
    from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= 500
    return isinstance(error, (ConnectionClosedError, EndpointConnectionError))


def unreachable(contract: Contract, part: str, address: str | None, cause: BaseException) -> UnreachableError:
    """Return the error for a part of a region that did not answer.

    Args:
        contract: The contract of the region.
        part: The name of the part for people, e.g. `Redis`.
        address: The address of the part, or None if it has none.
        cause: The exception whose text the error shows as the reason.
    """
    reason = str(cause) or type(cause).__name__
    scope = f"--env {contract.environment} --region {contract.region}"
    return UnreachableError(
        f"{part} does not answer: {reason}",
        where=", ".join(filter(None, (contract.environment, contract.region, address))),
        hint=f"`mjctl health {scope}` shows which parts fail; `mjctl deploy {scope}` starts missing parts again",
    )
