"""The process `gameserver worker`, which polls SQS and passes the messages to the persistence function."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from prometheus_client import Counter

from gameserver.functions.persistence import persist
from gameserver.functions.services import Services
from gameserver.http.hosting import Readiness, listen, operations_routes, stop_signal
from gameserver.persistence.database import DatabaseUnavailable
from gameserver.runtime import logs
from gameserver.runtime.aws import error_code
from gameserver.runtime.settings import Settings, SettingsError
from gameserver.runtime.tls import server_context

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

log = structlog.get_logger()

BATCHES = Counter("gameserver_worker_batches_total", "Batches received from the queue")

_BATCH = 10
# Length of a long poll of SQS, far below the maximum of 20 s, because a worker that stops waits for the end of its last
# poll. If a worker that stops abandoned its last poll, SQS would hide the messages of this poll until their visibility
# timeout.
_POLL_SECONDS = 2
_BATCHES_AT_ONCE = 4
_MAX_RETRY_SECONDS = 60
_MAX_BACKOFF_SECONDS = 5.0
_PRUNE_EVERY_SECONDS = 3600.0


def run(settings: Settings) -> int:
    """Process messages of the queue until SIGTERM, finish the batches that have begun, and return 0.

    Raises:
        SettingsError: an environment variable is missing.
    """
    logs.configure(settings, "worker")
    return asyncio.run(_work(settings))


async def _work(settings: Settings) -> int:
    stopping = stop_signal()
    services = Services(settings)
    worker = Worker(services)
    app = web.Application()
    app.add_routes(operations_routes(worker.readiness))
    try:
        runner = await listen(app, settings.host, settings.ops_port, server_context(settings))
        try:
            await worker.work(stopping)
        finally:
            await runner.cleanup()
    finally:
        await services.close()
    return 0


class Worker:
    """Receives messages of the queue, passes them to `persist`, and deletes the messages that `persist` has stored.

    Attributes:
        readiness: checks the databases, the cache and the queue for the route `/readyz`.

    Raises:
        SettingsError: GAMESERVER_PERSISTENCE_QUEUE_URL is not set.
    """

    def __init__(self, services: Services) -> None:
        if not services.settings.persistence_queue_url:
            raise SettingsError("GAMESERVER_PERSISTENCE_QUEUE_URL must be set")
        self._services = services
        self._queue = services.settings.persistence_queue_url
        self._prune_at = time.monotonic() + _PRUNE_EVERY_SECONDS
        self._stores = Readiness(
            {
                "postgres": services.database.ping,
                "cache": services.cache.ping,
                "dynamodb": services.tables.ping,
            }
        )
        self.readiness = Readiness({"stores": self._check_stores, "queue": self._check_queue})

    async def work(self, stopping: asyncio.Event) -> None:
        """Poll the queue until `stopping` is set, and return when every batch that has begun is finished."""
        slots = asyncio.Semaphore(_BATCHES_AT_ONCE)
        backoff = 0.0
        async with asyncio.TaskGroup() as batches:
            while not stopping.is_set():
                await slots.acquire()
                try:
                    messages = await self._receive()
                    backoff = 0.0
                except _NotNow as error:
                    backoff = min(_MAX_BACKOFF_SECONDS, max(0.1, backoff * 2))
                    log.warning("waiting", cause=str(error), seconds=backoff)
                    messages = []
                if messages:
                    batches.create_task(self._handle(messages, slots))
                else:
                    slots.release()
                    await _sleep(backoff, stopping)
                await self._prune_when_due()
        log.info("stopped")

    async def _receive(self) -> Sequence[MessageTypeDef]:
        # The worker receives no messages while a database or the cache does not answer, because the worker could not
        # store the messages. After too many failed deliveries SQS would move a valid message to the dead-letter queue.
        await self._check_stores()
        aws = self._services.aws
        answer = await self._sqs(
            lambda: aws.sqs.receive_message(
                QueueUrl=self._queue,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=_POLL_SECONDS,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        )
        messages: Sequence[MessageTypeDef] = answer.get("Messages", [])
        return messages

    async def _handle(self, messages: Sequence[MessageTypeDef], slots: asyncio.Semaphore) -> None:
        BATCHES.inc()
        try:
            batch = {"Records": [{"messageId": m["MessageId"], "body": m["Body"]} for m in messages]}
            answer = await persist(batch, self._services)
            failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
            await self._delete([m for m in messages if m["MessageId"] not in failed])
            await self._delay([m for m in messages if m["MessageId"] in failed])
        except _NotNow as error:
            # SQS delivers again every message that the worker has not deleted. A second delivery of a message whose
            # events are stored changes nothing.
            log.warning("queue_unavailable", cause=str(error))
        except Exception:
            # A fault of the worker's code in one batch must not end the worker. The messages of a batch that failed
            # stay in the queue.
            log.exception("batch_failed")
        finally:
            slots.release()

    async def _delete(self, messages: Sequence[MessageTypeDef]) -> None:
        if not messages:
            return
        aws = self._services.aws
        answer = await self._sqs(
            lambda: aws.sqs.delete_message_batch(
                QueueUrl=self._queue,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)
                ],
            )
        )
        for failure in answer.get("Failed", []):
            log.warning("not_deleted", code=failure.get("Code"))

    async def _delay(self, messages: Sequence[MessageTypeDef]) -> None:
        """Set the pause before the next delivery of failed messages: 1 s, 2 s, 4 s and so on, up to 60 s."""
        if not messages:
            return
        aws = self._services.aws
        await self._sqs(
            lambda: aws.sqs.change_message_visibility_batch(
                QueueUrl=self._queue,
                Entries=[
                    {
                        "Id": str(n),
                        "ReceiptHandle": message["ReceiptHandle"],
                        "VisibilityTimeout": _retry_seconds(message),
                    }
                    for n, message in enumerate(messages)
                ],
            )
        )

    async def _sqs(self, call: Any) -> Mapping[str, Any]:
        def guarded() -> Mapping[str, Any]:
            from botocore.exceptions import BotoCoreError, ClientError

            try:
                answer: Mapping[str, Any] = call()
            except (BotoCoreError, ClientError) as error:
                raise _NotNow(f"SQS: {error_code(error) or type(error).__name__}") from error
            return answer

        return await self._services.aws.run(guarded)

    async def _prune_when_due(self) -> None:
        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + _PRUNE_EVERY_SECONDS
        try:
            log.info("pruned", events=await self._services.results.prune())
        except DatabaseUnavailable as error:
            log.warning("not_pruned", cause=str(error))

    async def _check_stores(self) -> None:
        faults = [f"{name}: {state}" for name, state in (await self._stores.look()).items() if state != "ok"]
        if faults:
            raise _NotNow(", ".join(faults))

    async def _check_queue(self) -> None:
        aws = self._services.aws
        await self._sqs(
            lambda: aws.sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["ApproximateNumberOfMessages"])
        )


class _NotNow(Exception):
    """Reports that the queue, a database or the cache is unavailable at the moment."""


def _retry_seconds(message: MessageTypeDef) -> int:
    received = int(message.get("Attributes", {}).get("ApproximateReceiveCount", "1"))
    return min(_MAX_RETRY_SECONDS, 1 << min(received - 1, 6))


async def _sleep(seconds: float, stopping: asyncio.Event) -> None:
    if seconds:
        try:
            async with asyncio.timeout(seconds):
                await stopping.wait()
        except TimeoutError:
            pass
