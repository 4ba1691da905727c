"""Calls the Lambda function `migrate`, which updates the schema of a database inside a VPC."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mjctl.clients.boto import RegionClients, ThrottledError
from mjctl.clients.error_codes import error_code
from mjctl.models.contract import Contract
from mjctl.models.deployment import SchemaUpdate
from mjctl.models.errors import NotFoundError, UnreachableError, VerificationError

PURPOSE = "migrate"
"""The key of the function `migrate` in `managed.functions` of the contract."""

# Lambda ends the function after 300 seconds, so a later answer is impossible.
_ANSWER_SECONDS = 330.0
_READY_SECONDS = 180.0
_PAUSE_SECONDS = 0.5
# Lambda answers with these codes while it changes the function's code, or connects an idle function to the VPC again.
# https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
_NOT_READY = ("ResourceConflictException", "ResourceNotReadyException")


class MigrateFunction:
    """Sends a release's code to the function `migrate` of a region, and runs the function."""

    def __init__(self, contract: Contract) -> None:
        """Prepare the client.

        Raises:
            NotFoundError: the contract names no function `migrate`, because an older release deployed the region.
        """
        name = contract.managed.functions.get(PURPOSE) if contract.managed else None
        if name is None:
            raise NotFoundError("the region has no function `migrate`", where=f"region {contract.region}")
        self._contract = contract
        self._name = name

    @property
    def _where(self) -> str:
        return f"{self._contract.environment}, {self._contract.region}, function {self._name}"

    async def run(self, archive: bytes, sha256: str) -> SchemaUpdate:
        """Run the migrations in `archive` that have not run on the database.

        After the call, the code of the function differs from Terraform's state until the next apply of the region. That
        apply sends the same archive.

        Args:
            archive: The archive of the functions.
            sha256: The SHA-256 of the archive in base64.

        Raises:
            VerificationError: a migration failed. The message says whether other migrations have changed the schema.
            UnreachableError: the database or AWS did not answer, or the function failed.
            PermissionDeniedError: AWS refuses a call.
        """
        with RegionClients(self._contract, timeout_seconds=_ANSWER_SECONDS, attempts=1) as clients:
            if (await self._ready(clients))["CodeSha256"] != sha256:
                await self._again(
                    lambda: clients.call("lambda", "update_function_code", FunctionName=self._name, ZipFile=archive)
                )
                await self._ready(clients)
            answer = await self._again(lambda: clients.call("lambda", "invoke", FunctionName=self._name, Payload=b"{}"))
            payload = await asyncio.to_thread(answer["Payload"].read)
        return self._result(json.loads(payload), failed=bool(answer.get("FunctionError")))

    async def _ready(self, clients: RegionClients) -> Mapping[str, Any]:
        """Wait until Lambda has finished the last change of the function, and return the function's configuration."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            function = await clients.call("lambda", "get_function_configuration", FunctionName=self._name)
            if function.get("LastUpdateStatus") != "InProgress" and function.get("State") != "Pending":
                return function
            if time.monotonic() > deadline:
                raise UnreachableError("Lambda has not finished the change of the function", where=self._where)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _again(self, call: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """Repeat a call while Lambda refuses it because of throttling or a change of the function."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                return await call()
            except UnreachableError as error:
                cause = error.__cause__
                busy = isinstance(cause, Exception) and error_code(cause) in _NOT_READY
                if not (busy or isinstance(error, ThrottledError)) or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)

    def _result(self, result: Mapping[str, Any], *, failed: bool) -> SchemaUpdate:
        hint = f"`aws logs tail /aws/lambda/{self._name} --region {self._contract.region}` shows the function's log"
        if failed:
            message = result.get("errorMessage", "no reason given")
            raise UnreachableError(
                f"the function that updates the schema failed: {message}", where=self._where, hint=hint
            )
        error = result.get("error")
        if error is None:
            return SchemaUpdate(self._contract.region, tuple(result["heads"]), tuple(result["applied"]))
        if error["code"] != "migration_failed":
            raise UnreachableError(
                f"the function that updates the schema cannot use the database: {error['message']}",
                where=self._where,
                hint=hint,
            )
        name = f"the migration {error['migration']}" if error["migration"] else "the update of the schema"
        # The function of an older release does not return the field `kept`.
        kept = error.get("kept")
        effect = f"the schema is unchanged except for {', '.join(kept)}" if kept else "the schema is unchanged"
        raise VerificationError(
            f"{name} failed, and {effect}: {error['message']}",
            where=self._where,
            hint=f"correct the migration and deploy again; {hint}",
        )
