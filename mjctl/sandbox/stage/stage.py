"""Assembles the stage inside the process that runs ministack.

`prepare` runs before the import of ministack, which reads its settings during the import. `Stage.install` runs after
the import.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from mjctl.local.credentials import AwsKey
from mjctl.sandbox.stage import leftovers, names
from mjctl.sandbox.stage.addresses import Addresses
from mjctl.sandbox.stage.api_gateway import ApiGateway
from mjctl.sandbox.stage.authority import Authority
from mjctl.sandbox.stage.cache_nodes import CacheNodes
from mjctl.sandbox.stage.calls import Calls
from mjctl.sandbox.stage.containers import NETWORK, ContainerEngine
from mjctl.sandbox.stage.context import StageContext, StagePart
from mjctl.sandbox.stage.database_nodes import DatabaseNodes
from mjctl.sandbox.stage.edge_addresses import EdgeAddresses
from mjctl.sandbox.stage.functions import Functions
from mjctl.sandbox.stage.gateway import Gateway
from mjctl.sandbox.stage.layout import authority_folder, hosts_file
from mjctl.sandbox.stage.load_balancers import LoadBalancers
from mjctl.sandbox.stage.mail import Mail
from mjctl.sandbox.stage.metrics import MetricPublisher
from mjctl.sandbox.stage.pool_firewall import PoolFirewall
from mjctl.sandbox.stage.targets import Targets
from mjctl.sandbox.stage.tasks import Tasks

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOOK_SECONDS = 0.5

logger = logging.getLogger("mjctl.sandbox.stage")


def prepare(folder: Path, key: AwsKey) -> None:
    """Enter a mount namespace, and set ministack's settings so that IAM decides on every signed request.

    Args:
        folder: The folder of the stage's files.
        key: The access key of the operator, who is the root user of the account.

    Raises:
        OSError: the system does not allow this user to create a mount namespace (names.obstacle).
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names.enter(hosts_file(folder))
    os.environ.update(AUTH="true", DOCKER_NETWORK=NETWORK, **key.variables)


class Stage:
    """Runs the parts of the stage in ministack's process."""

    def __init__(
        self, folder: Path, account_id: str, port: int, access_key_id: str, releases: Path, moto: str | None = None
    ) -> None:
        """Reserve the IP addresses of the stage, and load its certificate authority from `folder`.

        The arguments are those of `StageContext`; `port` is the port of ministack.

        Raises:
            ConflictError: other stages use all networks of loopback addresses.
        """
        leftovers.kill(folder)
        addresses = Addresses(folder)
        self.context = StageContext(
            folder=folder,
            account_id=account_id,
            gateway=f"http://127.0.0.1:{port}",
            moto=moto,
            access_key_id=access_key_id,
            releases=releases,
            addresses=addresses,
            authority=Authority(authority_folder(folder)),
            engine=ContainerEngine(folder / "containers", addresses, leftovers.mark(folder)),
        )
        self.gateway = Gateway(self.context)
        self.parts: list[StagePart] = [self.gateway, *_parts(self.context)]
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._look_until_closed, daemon=True, name="stage")

    def install(self) -> None:
        """Replace functions of ministack, and start the thread that calls `look` of each part."""
        for part in self.parts:
            part.install()
        self._thread.start()

    def wrap(self, application: Application) -> Application:
        """Wrap ministack's ASGI application, so that the stage's processes end before ministack saves its state."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "lifespan":
                await application(scope, receive, send)
                return

            async def received() -> MutableMapping[str, Any]:
                message = await receive()
                if message["type"] == "lifespan.shutdown":
                    await asyncio.to_thread(self.close)
                return message

            await application(scope, received, send)

        return serve

    def end_tasks(self) -> None:
        """End the game servers while they still reach the emulated AWS, e.g. to publish the events of their matches."""
        self._closing.set()
        self._thread.join()
        self.context.engine.end_tasks()

    def close(self) -> None:
        """End all processes of the stage."""
        self.end_tasks()
        for part in reversed(self.parts):
            part.close()
        self.context.engine.close()
        self.context.addresses.close()

    def _look_until_closed(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            for part in self.parts:
                try:
                    part.look()
                except Exception:
                    logger.exception("%s failed", type(part).__name__)
            try:
                known = {name: address for source in self.context.names for name, address in source().items()}
                names.publish(hosts_file(self.context.folder), known)
            except Exception:
                logger.exception("the names were not published")


def _parts(context: StageContext) -> list[StagePart]:
    return [
        Calls(context),
        Mail(context),
        CacheNodes(context),
        DatabaseNodes(context),
        Targets(context),
        LoadBalancers(context),
        Tasks(context),
        Functions(context),
        ApiGateway(context),
        EdgeAddresses(context),
        PoolFirewall(context),
        # MetricPublisher comes last, so that it also counts the requests that the other parts refuse.
        MetricPublisher(context),
    ]
