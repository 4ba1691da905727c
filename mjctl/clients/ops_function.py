"""A client of the ops function, a Lambda function through which operators reach a cache inside of the VPC.

The client invokes the ops function with the operator's IAM credentials. The ops function logs each command with the
operator that the client names. CloudTrail records each invocation with its request id, and operators cannot change the
records of CloudTrail.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mjctl.clients.boto import RegionClients, ThrottledError
from mjctl.models.contract import Contract
from mjctl.models.errors import ConfigError, ConflictError, MjctlError, UnreachableError, UsageError

SLICE_SECONDS = 10.0
"""The seconds for which one invocation of the ops function works on a sweep of the cache.

Ctrl-C and the progress display are delayed by the running invocation, so by 10 seconds at most.
"""

# 60 seconds are enough for the function's longest command (hot keys, 30 s), a cold start in the VPC, and the transfer.
_ANSWER_SECONDS = 60.0
_THROTTLED_ATTEMPTS = 6


class OpsFunction:
    """Invokes the ops function of a region.

    Attributes:
        operator: The ARN of the caller's IAM identity, which the ops function logs.
    """

    def __init__(self, contract: Contract, clients: RegionClients, operator: str) -> None:
        self._contract = contract
        self._clients = clients
        self.operator = operator

    async def run(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Run a command of `gameserver.functions.operations` and return its answer.

        Args:
            command: The name of the command.
            arguments: The arguments of the command, as JSON values.

        Raises:
            PermissionDeniedError: there are no valid credentials, or their owner may not invoke the function.
            NotFoundError: the function does not exist.
            ConfigError: the contract names no ops function.
            UsageError: the function refuses an argument.
            ConflictError: the cache contains a value that the game did not write.
            UnreachableError: the function was throttled, timed out or failed, or Lambda did not answer.
        """
        event = {"command": command, "operator": self.operator, **arguments}
        answer = await self._invoke(json.dumps(event).encode())
        payload = await asyncio.to_thread(answer["Payload"].read)
        try:
            result = json.loads(payload)
        except ValueError:
            result = None
        if answer.get("FunctionError"):
            raise self._failure(result if isinstance(result, dict) else {})
        if not isinstance(result, dict):
            raise self._failure({"errorMessage": "its answer is not a JSON object"})
        error = result.get("error")
        if isinstance(error, Mapping):
            if error.get("code") == "invalid_request":
                raise UsageError(f"the ops function refused the command: {error.get('message')}")
            if error.get("code") == "foreign_value":
                raise ConflictError(
                    f"the cache contains data of another program: {error.get('message')}",
                    where=f"{self._contract.environment}, {self._contract.region}",
                    hint="find the program that writes to this Redis, and delete the key that this error names",
                )
            raise self._failure({"errorMessage": error.get("message")}, what="the ops function cannot use the cache")
        return result

    async def _invoke(self, payload: bytes) -> dict[str, Any]:
        """Invoke the ops function, and repeat the call only if AWS throttled it.

        After any failure except throttling, the ops function may have executed the command, so the call is not
        repeated.
        """
        arn = self._contract.cache.ops_function_arn
        if arn is None:
            raise ConfigError(
                "the contract names no ops function",
                where=f"{self._contract.environment}, {self._contract.region}",
                hint=f"`mjctl deploy --env {self._contract.environment} --region {self._contract.region}` "
                "publishes a contract with the ops function",
            )
        for attempt in range(1, _THROTTLED_ATTEMPTS + 1):
            try:
                return await self._clients.call("lambda", "invoke", FunctionName=arn, Payload=payload)
            except ThrottledError:
                if attempt == _THROTTLED_ATTEMPTS:
                    raise
                await asyncio.sleep(min(4.0, 0.2 * 2**attempt) * random.uniform(0.5, 1))
        raise AssertionError("the last attempt to invoke the ops function returns or raises")

    def _failure(self, result: Mapping[str, Any], what: str | None = None) -> MjctlError:
        kind, message = str(result.get("errorType", "")), str(result.get("errorMessage", "no reason given"))
        reason = f"{kind}: {message}" if kind and kind not in message else message
        arn = self._contract.cache.ops_function_arn or ""
        log_group = f"/aws/lambda/{arn.rsplit(':', 1)[-1]}"
        what = what or ("the ops function timed out" if "timed out" in message else "the ops function failed")
        return UnreachableError(
            f"{what}: {reason}",
            where=f"{self._contract.environment}, {self._contract.region}, {arn}",
            hint=f"`aws logs tail {log_group} --region {self._contract.region}` shows the log of the ops function",
        )


@asynccontextmanager
async def ops_function(contract: Contract) -> AsyncIterator[OpsFunction]:
    """Open the ops function of a region for the operator to whom the credentials belong.

    Raises:
        PermissionDeniedError: there are no credentials, or they have expired.
    """
    with RegionClients(contract, timeout_seconds=_ANSWER_SECONDS, attempts=1) as clients:
        caller = await clients.call("sts", "get_caller_identity")
        yield OpsFunction(contract, clients, str(caller["Arn"]))
