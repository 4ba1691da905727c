"""Runs an emulated ElastiCache replication group: its Valkey nodes and its door, a proxy in front of the nodes.

`CacheGroup` also decides when a replica replaces a failed primary.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mjctl.files import read_json, write_private
from mjctl.sandbox.stage import cache_records, cache_shards
from mjctl.sandbox.stage.cache_measures import CacheMeasures
from mjctl.sandbox.stage.cache_records import Record, Scope
from mjctl.sandbox.stage.containers import Container, ContainerCommand
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.rounds import end_processes_in
from mjctl.sandbox.stage.valkey import (
    ValkeyConnection,
    ValkeyError,
    ValkeyNode,
    apply_parameters,
    apply_users,
    replication,
)

DOOR_IMAGE = "mjctl/cache-door"

# The stage kills a node that has not answered for 10 s, and then replaces the node as after a crash.
_UNANSWERED_SECONDS = 10.0

logger = logging.getLogger("mjctl.sandbox.stage")


class CacheGroup:
    """Starts and stops the processes of a replication group as ministack's record of the group describes them."""

    def __init__(self, context: StageContext, scope: Scope, sockets: Path, log_in: Path) -> None:
        """Create the object without starting a process.

        Args:
            context: The objects that all parts of the stage share.
            scope: The account, the region and the name of the replication group.
            sockets: The folder for the nodes' Unix sockets.
            log_in: The Unix socket of mjctl.sandbox.stage.cache_login.
        """
        self.scope = scope
        self._context = context
        self._sockets = sockets
        self._log_in = log_in
        self._nodes: dict[str, ValkeyNode] = {}
        self._unique_name = f"{scope.region}-{scope.name}"
        self._door: Container = context.engine.containers.create(DOOR_IMAGE, name=f"cache-door-{self._unique_name}")
        secret = self._door.folder / "password.json"
        if "password" not in read_json(secret):
            write_private(secret, json.dumps({"password": secrets.token_hex(24)}))
        self._password: str = read_json(secret)["password"]

    def addresses(self) -> dict[str, str]:
        """Return the addresses of the nodes whose processes run, by the node ids of ElastiCache, e.g. `cache-001`."""
        return {member: node.address for member, node in list(self._nodes.items()) if node.running}

    def measure(self, measures: CacheMeasures) -> None:
        """Record the metrics of the nodes that answer."""
        nodes = {member: node for member, node in list(self._nodes.items()) if node.running}
        addresses = {node.address: member for member, node in nodes.items()}
        for member, node in nodes.items():
            try:
                with node.connect() as connection:
                    measures.measure(self.scope.region, member, connection, addresses)
            except ValkeyError as error:
                logger.info("%s was not measured: %s", member, error)

    def correct(self, record: Record) -> None:
        """Start missing processes, replace failed primaries, and apply users and parameters as the record describes."""
        members = [str(member["CacheClusterId"]) for member in cache_records.members(record)]
        for member in members:
            if member not in self._nodes:
                name = f"{self.scope.region}-{member}"
                self._nodes[member] = ValkeyNode(self._context.engine, name, self._sockets, self._password)
        for member in set(self._nodes) - set(members):
            self._nodes.pop(member).remove()
        for shard in record["NodeGroups"]:
            self._correct_shard(record, shard)
        self._open_door(record)
        healthy = self._configure(record)
        if healthy and record["ClusterEnabled"]:
            healthy = self._correct_cluster(record)
        # A caller of the API may have changed the record during this correction.
        wanted = {str(member["CacheClusterId"]) for member in cache_records.members(record)}
        self._report(record, healthy=healthy and wanted == set(self._nodes))

    def fail_primary(self, shard: Record) -> None:
        """Kill the primary of a shard, so that `correct` replaces the primary by a replica."""
        node = self._nodes.get(cache_records.primary_of(shard)["CacheClusterId"])
        if node is not None:
            node.kill()

    def remove(self) -> None:
        """End all processes of the group and delete the data of the nodes."""
        import shutil

        self._door.remove()
        for node in self._nodes.values():
            node.remove()
            self._context.addresses.forget(node.container_name)
        self._context.addresses.forget(self._door.name)
        shutil.rmtree(self._door.folder, ignore_errors=True)

    def _correct_cluster(self, record: Record) -> bool:
        """Join the nodes, and remove shards without slots. Returns: True if the cluster is as the record describes."""
        if not cache_shards.join(record, self._nodes, cache_records.port_of(record)):
            return False
        emptied = cache_shards.emptied_shards(record)
        if not emptied:
            return True
        try:
            cache_shards.forget(record, self._nodes)
        except ValkeyError as error:
            logger.info("%s: %s", self.scope.name, error)
        else:
            cache_records.remove_shards(self.scope, record, emptied)
        return False

    def _correct_shard(self, record: Record, shard: Record) -> None:
        primary = cache_records.primary_of(shard)
        node = self._nodes[primary["CacheClusterId"]]
        if node.running and time.monotonic() - node.answered_at > _UNANSWERED_SECONDS:
            logger.warning("%s does not answer and is killed", node.member)
            node.kill()
        if node.ended and record.get("AutomaticFailover") == "enabled":
            self._fail_over(record, shard, primary)
        primary = cache_records.primary_of(shard)
        for member in sorted(shard["NodeGroupMembers"], key=lambda member: member is not primary):
            node = self._nodes[member["CacheClusterId"]]
            if not node.running:
                source = None if member is primary else self._nodes[primary["CacheClusterId"]].address
                cluster = bool(record["ClusterEnabled"])
                name = str(member["ReadEndpoint"]["Address"])
                node.start(cache_records.port_of(record), source, cluster=cluster, name=name)

    def _fail_over(self, record: Record, shard: Record, failed: Record) -> None:
        """Promote the replica that has received the most data of the failed primary, as ElastiCache does.

        https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/AutoFailover.html
        """
        offsets: dict[str, int] = {}
        for member in shard["NodeGroupMembers"]:
            node = self._nodes[member["CacheClusterId"]]
            if member is not failed and node.running:
                try:
                    with node.connect() as connection:
                        fields = replication(connection)
                    offsets[member["CacheClusterId"]] = int(fields.get("slave_repl_offset", 0))
                except ValkeyError as error:
                    logger.warning("%s is no candidate for a failover: %s", node.member, error)
        if not offsets:
            return
        # If two replicas have received equal amounts of data, promote the first by id, so that tests can predict the
        # result.
        chosen = max(sorted(offsets), key=lambda member: offsets[member])
        with self._nodes[chosen].connect() as connection:
            if record["ClusterEnabled"]:
                connection.command("CLUSTER", "FAILOVER", "TAKEOVER")
            else:
                connection.command("REPLICAOF", "NO", "ONE")
        for member in shard["NodeGroupMembers"]:
            member["CurrentRole"] = "primary" if member["CacheClusterId"] == chosen else "replica"
        cache_records.record_failover(self.scope, failed["CacheClusterId"], chosen)
        logger.warning("%s: failover from %s to %s", self.scope.name, failed["CacheClusterId"], chosen)

    def _open_door(self, record: Record) -> None:
        files: Any = (None, None)
        if record.get("TransitEncryptionEnabled"):
            files = self._context.authority.issue([cache_records.wildcard_name(self.scope)])
        settings = {
            "account": self.scope.account,
            "region": self.scope.region,
            "group": self.scope.name,
            "port": cache_records.port_of(record),
            "log_in": str(self._log_in),
            "password": self._password,
            "nodes": {node.address: str(node.socket) for node in self._nodes.values()},
            "folders": [str(node.folder.resolve()) for node in self._nodes.values()],
            "certificate": files[0] and str(files[0]),
            "key": files[1] and str(files[1]),
        }
        file = self._door.folder / "door.json"
        if read_json(file) != settings:
            write_private(file, json.dumps(settings))
        if not self._door.running:
            end_processes_in(self._door.folder)
            self._door.start()

    def _configure(self, record: Record) -> bool:
        """Apply users, parameters and roles to every node. Returns: True if all nodes answer and have their role."""
        parameters = cache_records.parameters_of(self.scope, record)
        users = {
            str(user["UserName"]): cache_records.rules_of(user, self._password)
            for user in cache_records.users_of(self.scope, record)
        }
        if not record.get("UserGroupIds"):
            users = {"default": cache_records.rules_without_users(record)}
        wanted = (parameters, users)
        healthy = True
        for shard in record["NodeGroups"]:
            primary = cache_records.primary_of(shard)["CacheClusterId"]
            for member in shard["NodeGroupMembers"]:
                node = self._nodes[member["CacheClusterId"]]
                source = None if member["CacheClusterId"] == primary else self._nodes[primary].address
                try:
                    with node.connect() as connection:
                        if node.configured != wanted:
                            apply_parameters(connection, parameters)
                            for problem in apply_users(connection, users):
                                logger.error("%s: %s", node.member, problem)
                            node.configured = wanted
                        if not record["ClusterEnabled"]:
                            healthy &= _in_role(connection, source, cache_records.port_of(record))
                except ValkeyError as error:
                    healthy = False
                    logger.info("%s: %s", node.member, error)
        return healthy

    @staticmethod
    def _report(record: Record, *, healthy: bool) -> None:
        status = "available" if healthy else "creating" if record["Status"] == "creating" else "modifying"
        record["Status"] = status
        for shard in record["NodeGroups"]:
            shard["Status"] = status


def _in_role(connection: ValkeyConnection, source: str | None, port: int) -> bool:
    """Make a node a replica of `source`, or the primary without a `source`.

    Returns: True if the node has its role and all data.
    """
    fields = replication(connection)
    if source is None:
        if fields["role"] == "master":
            return True
        connection.command("REPLICAOF", "NO", "ONE")
        return False
    if fields.get("master_host") != source:
        connection.command("REPLICAOF", source, str(port))
        return False
    return fields.get("master_link_status") == "up"


def door_recipe(container: Container) -> ContainerCommand:
    """Return the command that runs a door in a container of the stage."""
    names = ("PATH", "PYTHONPATH", "LANG", "TMPDIR", "VIRTUAL_ENV")
    environment: Mapping[str, str] = {name: os.environ[name] for name in names if name in os.environ}
    command = [sys.executable, "-m", "mjctl.sandbox.stage.cache_door", str(container.folder / "door.json")]
    return ContainerCommand(command, environment, container.folder)
