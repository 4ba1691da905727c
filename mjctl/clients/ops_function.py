"""The ops function: the way to a cache that can be reached from inside its network only.

It is invoked with the caller's own IAM credentials. The function logs each command with the name that the caller gives
here; CloudTrail, which nobody can write to, has the same request by its id.
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
"""How long one invocation of a sweep works: Ctrl-C and the progress display are this late at most."""

# The longest that is asked for (hot keys, 30 s), a cold start inside the VPC, and the way there and back.
_ANSWER_SECONDS = 60.0
_THROTTLED_ATTEMPTS = 6


class OpsFunction:
    """One region's function, and on whose behalf it is asked. `operator`: ARN of the caller."""

    def __init__(self, contract: Contract, clients: RegionClients, operator: str) -> None:
        self._contract = contract
        self._clients = clients
        self.operator = operator

    async def run(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The answer to one command of `gameserver.functions.operations`.

        Raises:
            PermissionDeniedError: no or expired credentials, or they may not invoke the function.
            NotFoundError: the function does not exist.
            UsageError: the function says that an argument is malformed.
            UnreachableError: it is throttled, ran out of time or failed, or Lambda does not answer.
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
            raise self._failure({"errorMessage": "its answer is no JSON object"})
        error = result.get("error")
        if isinstance(error, Mapping):
            if error.get("code") == "invalid_request":
                raise UsageError(f"the ops function does not take the command: {error.get('message')}")
            if error.get("code") == "foreign_value":
                raise ConflictError(
                    f"the cache holds foreign data: {error.get('message')}",
                    where=f"{self._contract.environment}, {self._contract.region}",
                    hint="find the program that writes to this Redis, and delete the key",
                )
            raise self._failure({"errorMessage": error.get("message")}, what="the ops function cannot use the cache")
        return result

    async def _invoke(self, payload: bytes) -> dict[str, Any]:
        """Lambda's own refusals for lack of room are waited out; anything else may have been carried out, and is not
        sent again."""
        arn = self._contract.cache.ops_function_arn
        if arn is None:
            raise ConfigError(
                "the contract names no ops function",
                where=f"{self._contract.environment}, {self._contract.region}",
                hint=f"`mjctl deploy --env {self._contract.environment} --region {self._contract.region}` "
                "publishes it again",
            )
        for attempt in range(1, _THROTTLED_ATTEMPTS + 1):
            try:
                return await self._clients.call("lambda", "invoke", FunctionName=arn, Payload=payload)
            except ThrottledError:
                if attempt == _THROTTLED_ATTEMPTS:
                    raise
                await asyncio.sleep(min(4.0, 0.2 * 2**attempt) * random.uniform(0.5, 1))
        raise AssertionError("the last attempt returns or raises")

    def _failure(self, result: Mapping[str, Any], what: str | None = None) -> MjctlError:
        kind, message = str(result.get("errorType", "")), str(result.get("errorMessage", "no reason given"))
        said = f"{kind}: {message}" if kind and kind not in message else message
        arn = self._contract.cache.ops_function_arn or ""
        log_group = f"/aws/lambda/{arn.rsplit(':', 1)[-1]}"
        what = what or ("the ops function ran out of time" if "timed out" in message else "the ops function failed")
        return UnreachableError(
            f"{what}: {said}",
            where=f"{self._contract.environment}, {self._contract.region}, {arn}",
            hint=f"`aws logs tail {log_group} --region {self._contract.region}` shows its log",
        )


@asynccontextmanager
async def ops_function(contract: Contract) -> AsyncIterator[OpsFunction]:
    """The region's function, used in the name of whoever the credentials belong to.

    Raises:
        PermissionDeniedError: there are no credentials, or they have expired.
    """
    with RegionClients(contract, timeout_seconds=_ANSWER_SECONDS, attempts=1) as clients:
        caller = await clients.call("sts", "get_caller_identity")
        yield OpsFunction(contract, clients, str(caller["Arn"]))
