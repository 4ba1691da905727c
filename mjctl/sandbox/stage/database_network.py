"""Decides who may connect and log in to an Aurora cluster, and runs the door in front of the servers."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mjctl.files import write_private
from mjctl.sandbox.stage import database_login, database_records, network_records
from mjctl.sandbox.stage.callers import caller_of
from mjctl.sandbox.stage.containers import Container, ContainerCommand, ContainerEngine
from mjctl.sandbox.stage.database_records import ClusterScope
from mjctl.sandbox.stage.question_server import QuestionServer
from mjctl.sandbox.stage.rounds import end_processes_in

_DOOR_IMAGE = "mjctl/database-door"

logger = logging.getLogger("mjctl.sandbox.stage")


class DatabaseNetwork:
    """Keeps the door of the databases running, and answers the door's questions."""

    def __init__(self, engine: ContainerEngine, sockets: Path) -> None:
        """Create the object without starting a process.

        Args:
            engine: The engine of the stage, which runs the door and the tasks.
            sockets: The folder for Unix sockets.
        """
        self._engine = engine
        self._check = sockets / "database-network.sock"
        self._instances: dict[ClusterScope, dict[str, dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._door: Container | None = None
        self._written = ""
        self._server: QuestionServer | None = None

    def install(self) -> None:
        """Begin to answer the questions of the door."""
        self._engine.recipes.append((re.compile(f"^{_DOOR_IMAGE}$"), _recipe))
        self._server = QuestionServer(self._check, self.answer)

    def open(self, scope: ClusterScope, instances: Mapping[str, Mapping[str, Any]]) -> None:
        """Let the door accept connections to the instances of a cluster.

        Args:
            scope: The cluster.
            instances: `socket`, `certificate`, `key` and `tls_required` in the settings of the door (DatabaseDoor), by
                the address of the instance.
        """
        named = {"account": scope.account, "region": scope.region, "cluster": scope.name}
        with self._lock:
            self._instances[scope] = {address: {**settings, **named} for address, settings in instances.items()}
            self._keep_door()

    def forget(self, scope: ClusterScope) -> None:
        """Close the door for a deleted cluster, and end the door after the last cluster."""
        with self._lock:
            self._instances.pop(scope, None)
            self._keep_door()

    def close(self) -> None:
        """Stop answering questions. The engine ends the door."""
        if self._server is not None:
            self._server.close()

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answer whether the door must refuse a process, or the token of a user.

        Args:
            question: `account`, `region` and `cluster`, and either `pid`, or `user` and `token`.
        """
        scope = ClusterScope(question["account"], question["region"], question["cluster"])
        if "pid" in question:
            reason = obstacle(self._engine, scope, question["pid"])
        else:
            reason = database_login.refusal(scope, question["user"], question["token"])
        if reason is not None:
            logger.warning("%s refuses a connection: %s", scope.name, reason)
        return {"refused": reason is not None}

    def _keep_door(self) -> None:
        if not any(self._instances.values()):
            if self._door is not None:
                self._door.remove()
            self._door, self._written = None, ""
            return
        if self._door is None:
            self._door = self._engine.containers.create(_DOOR_IMAGE, name="database-door")
        instances: dict[str, dict[str, Any]] = {}
        for addresses in self._instances.values():
            instances |= addresses
        text = json.dumps({"check": str(self._check), "instances": instances}, sort_keys=True)
        if text != self._written:
            write_private(self._door.folder / "door.json", text)
            self._written = text
        if not self._door.running:
            end_processes_in(self._door.folder)
            self._door.start()


def obstacle(engine: ContainerEngine, scope: ClusterScope, pid: int) -> str | None:
    """Return the reason for which security groups forbid a connection, or None if they allow the connection.

    Args:
        engine: The engine of the stage, which runs the tasks.
        scope: The cluster of the instance to which the process has connected.
        pid: The process that has opened the connection. The stage does not apply security groups to processes of the
            operator, which are in no VPC.
    """
    from ministack.core.responses import request_scope

    caller = caller_of(pid, engine)
    if caller is None:
        return None
    target = _cluster_in(caller.arn.split(":")[3], scope)
    if target is None:
        return f"{caller.arn} is in a region without an instance of the database"
    with request_scope(target.account, target.region):
        source = network_records.caller_end(caller)
        if source is None:
            return f"the task {caller.arn} has ended"
        record = database_records.cluster_of(target) or {}
        port = int(record.get("Port") or database_records.PORT)
        return network_records.security_groups().obstacle(source, network_records.database_end(target.name), port)


def _cluster_in(region: str, scope: ClusterScope) -> ClusterScope | None:
    """Return the cluster of a global database in a region, or None if the region has no cluster of the database.

    With write forwarding, clients of a secondary cluster are connected to the writer's region (database_nodes.py). On
    AWS, these clients connect to an instance in their own region.
    """
    if region == scope.region:
        return scope
    record = database_records.cluster_of(scope)
    global_cluster = database_records.global_cluster_of(scope, record) if record is not None else None
    for member in (global_cluster or {}).get("GlobalClusterMembers", []):
        parts = str(member["DBClusterArn"]).split(":")
        if parts[3] == region:
            return ClusterScope(parts[4], parts[3], parts[6])
    return None


def _recipe(container: Container) -> ContainerCommand:
    names = ("PATH", "PYTHONPATH", "LANG", "TMPDIR", "VIRTUAL_ENV")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    command = [sys.executable, "-m", "mjctl.sandbox.stage.database_door", str(container.folder / "door.json")]
    return ContainerCommand(command, environment, container.folder)
