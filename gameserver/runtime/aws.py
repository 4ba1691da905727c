"""Makes the boto3 clients of the game's processes. No other module makes boto3 clients.

The import of boto3 and the reading of a service's model cost about 0.3 s of CPU. A process imports boto3 and reads the
service's model at the first use of a client. Both happen on a thread of `AwsClients.run`, so that the process answers
health checks meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

T = TypeVar("T")


class AwsClients:
    """Makes the clients of one region at their first use, and runs their blocking calls on threads.

    Args:
        region: name of the AWS region.
        endpoint_url: address of an emulated AWS; None for the real AWS.
        identity_region: name of the region of the user pool; None for `region`.
        threads: largest number of calls at the same time, and of connections to each service.
        connect_timeout_seconds: time limit of each attempt to connect.
        read_timeout_seconds: time limit of each attempt to read an answer.
        attempts: largest number of attempts of a call, with boto3's backoff between two attempts.
    """

    def __init__(
        self,
        region: str,
        endpoint_url: str | None = None,
        *,
        identity_region: str | None = None,
        threads: int = 16,
        connect_timeout_seconds: float = 2.0,
        read_timeout_seconds: float = 8.0,
        attempts: int = 3,
    ) -> None:
        self._region = region
        self._endpoint_url = endpoint_url
        self._identity_region = identity_region or region
        self._threads = threads
        self._timeouts = (connect_timeout_seconds, read_timeout_seconds)
        self._attempts = attempts
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self._session: Any = None
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="aws")

    async def run(self, call: Callable[[], T]) -> T:
        """Run a blocking call on a thread, for example `await aws.run(lambda: aws.sqs.get_queue_url(...))`."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Cancel calls that have not begun. Calls that have begun end at the latest by their timeouts."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    @property
    def cognito(self) -> CognitoIdentityProviderClient:
        """Return the client of Cognito's user pools, in the region of the game's user pool."""
        return self._client("cognito-idp", with_user_pool=True)  # type: ignore[no-any-return]

    @property
    def dynamodb(self) -> DynamoDBClient:
        """Return the client of DynamoDB."""
        return self._client("dynamodb")  # type: ignore[no-any-return]

    @property
    def ecs(self) -> Any:
        """Return the client of ECS."""
        return self._client("ecs")

    @property
    def kms(self) -> KMSClient:
        """Return the client of KMS."""
        return self._client("kms")  # type: ignore[no-any-return]

    @property
    def s3(self) -> Any:
        """Return the client of S3."""
        return self._client("s3")

    @property
    def code_kms(self) -> KMSClient:
        """Return the client of KMS in the region of the user pool, where the key of the players' codes is."""
        return self._client("kms", with_user_pool=True)  # type: ignore[no-any-return]

    @property
    def mail(self) -> Any:
        """Return the client of SES in the region of the user pool, from which players get mail."""
        return self._client("sesv2", with_user_pool=True)

    @property
    def secrets_manager(self) -> Any:
        """Return the client of Secrets Manager."""
        return self._client("secretsmanager")

    @property
    def sns(self) -> SNSClient:
        """Return the client of SNS."""
        return self._client("sns")  # type: ignore[no-any-return]

    @property
    def sqs(self) -> SQSClient:
        """Return the client of SQS."""
        return self._client("sqs")  # type: ignore[no-any-return]

    def sign_for_password(self, service: str, host: str, parameters: Mapping[str, str], seconds: int = 900) -> str:
        """Return a signed request that some AWS services accept as a password. The method blocks; call it on a thread.

        Args:
            service: name of the service in the signature, for example "elasticache".
            host: host name of the request.
            parameters: query parameters of the request.
            seconds: validity of the signature.

        Returns:
            The signed URL of the request, without `https://`.
        """
        from urllib.parse import urlencode

        from botocore.model import ServiceId
        from botocore.signers import RequestSigner

        with self._lock:
            session = self._boto_session()._session
        signer = RequestSigner(
            ServiceId(service),
            self._region,
            service,
            "v4",
            session.get_credentials(),
            session.get_component("event_emitter"),
        )
        request = {
            "method": "GET",
            "url": f"https://{host}/?{urlencode(parameters)}",
            "body": {},
            "headers": {},
            "context": {},
        }
        url: str = signer.generate_presigned_url(request, operation_name="connect", expires_in=seconds)
        return url.removeprefix("https://")

    def _client(self, service: str, *, with_user_pool: bool = False) -> Any:
        key = (service, self._identity_region if with_user_pool else self._region)
        client = self._clients.get(key)
        if client is None:
            # A boto3 session is not thread-safe while it makes a client. A boto3 client is thread-safe.
            with self._lock:
                client = self._clients.get(key) or self._make(*key)
                self._clients[key] = client
        return client

    def _boto_session(self) -> Any:
        import boto3

        if self._session is None:
            self._session = boto3.session.Session(region_name=self._region)
        return self._session

    def _make(self, service: str, region: str) -> Any:
        from botocore.config import Config

        connect, read = self._timeouts
        # An emulated AWS runs on this machine, where the proxy in HTTP_PROXY or HTTPS_PROXY cannot reach it.
        emulated: dict[str, Any] = {"proxies": {}} if self._endpoint_url else {}
        config = Config(
            **emulated,
            connect_timeout=connect,
            read_timeout=read,
            retries={"mode": "standard", "total_max_attempts": self._attempts},
            max_pool_connections=self._threads,
            user_agent_extra="gameserver",
        )
        client = self._boto_session().client(
            service, region_name=region, endpoint_url=self._endpoint_url, config=config
        )
        if self._endpoint_url:
            client.meta.events.register_first("choose-signer", _sign_what_needs_no_signature)
        return client


def _sign_what_needs_no_signature(context: dict[str, Any] | None = None, **_: Any) -> str | None:
    """Sign operations that AWS does not require a signature for, such as Cognito's sign-up.

    An emulated AWS finds the caller's account and region in the signature.
    """
    return "v4" if context and context.get("auth_type") == "none" else None


def error_code(error: BaseException) -> str:
    """Return the service's error code of a botocore ClientError, or "" for another exception."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
