"""Runs the PostgreSQL servers of one emulated Aurora cluster, and replaces a failed writer by a reader."""

from __future__ import annotations

import hashlib
import logging
import subprocess
from pathlib import Path

from mjctl.local import postgres
from mjctl.models.errors import UnreachableError
from mjctl.sandbox.stage import database_records
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.database_measures import DatabaseMeasures
from mjctl.sandbox.stage.database_network import DatabaseNetwork
from mjctl.sandbox.stage.database_records import ClusterScope, Record
from mjctl.sandbox.stage.postgres_server import PostgresServer
from mjctl.sandbox.stage.postgres_volume import Source, Volume, quoted

logger = logging.getLogger("mjctl.sandbox.stage")


class DatabaseCluster:
    """Starts and stops the servers of a cluster as ministack's record of the cluster describes them.

    A volume is the folder with the data of the writer's server. Every reader's server has a copy of the volume.
    """

    def __init__(self, context: StageContext, scope: ClusterScope, sockets: Path, network: DatabaseNetwork) -> None:
        """Create the object without starting a server.

        Args:
            context: The objects that all parts of the stage share.
            scope: The account, the region and the name of the cluster.
            sockets: The folder for the servers' Unix sockets.
            network: The network that leads connections to the servers.
        """
        self._network = network
        self.scope = scope
        self._context = context
        self._sockets = sockets
        self._servers: dict[str, PostgresServer] = {}
        self._volume = Volume(context.folder / "volumes" / f"{scope.region}-{scope.name}")
        digest = hashlib.sha256(f"{scope.region} {scope.name}".encode()).hexdigest()[:16]
        self._volume_sockets = sockets / f"vol-{digest}"
        self._master: tuple[str, str] | None = None

    def addresses(self) -> dict[str, str]:
        """Return the addresses of the instances that accept connections, by the instances' ids."""
        return {name: server.address for name, server in list(self._servers.items()) if server.ready and server.running}

    def measure(self, measures: DatabaseMeasures, record: Record, source_region: str | None) -> None:
        """Record the metrics of the instances that accept connections.

        Args:
            measures: Records the metrics.
            record: ministack's record of the cluster.
            source_region: The region of the global database's writer, or None if this cluster writes.
        """
        region, cluster, writer = self.scope.region, self.scope.name, database_records.writer_of(record)
        for name, server in list(self._servers.items()):
            if not server.ready or not server.running:
                continue
            try:
                measures.measure_instance(region, cluster, name, server.sql, server.pid)
                if name != writer:
                    measures.measure_reader(region, cluster, name, server.sql)
                elif source_region is not None:
                    measures.measure_copy(region, cluster, source_region, server.sql)
            except (UnreachableError, subprocess.TimeoutExpired) as error:
                logger.info("%s was not measured: %s", name, error)

    def source(self, record: Record) -> Source | None:
        """Return the source from which secondary clusters copy, or None if this cluster's writer does not run.

        A secondary cluster has no source either, because its writer is a copy.
        """
        server = self._writer(record)
        if server is None or not server.ready or not server.running or not self._volume.follows(None):
            return None
        return self._own_source(record)

    def stop_as_former_writer(self) -> None:
        """Stop the servers of the former writer's cluster, which becomes a secondary cluster.

        The writer sends all data to its readers and to the secondary clusters before it ends.
        """
        if (
            self._volume.exists
            and not self._volume.is_copy
            and any(server.running for server in self._servers.values())
        ):
            logger.warning("%s in %s stops to become a secondary cluster", self.scope.name, self.scope.region)
            self._stop_all()

    def promote(self, record: Record) -> None:
        """Promote this secondary cluster, so that it writes to the global database."""
        server = self._writer(record)
        if server is not None and server.running and self._volume.is_copy:
            server.promote()
            self._volume.mark_promoted()
            logger.warning("%s in %s is the writer now", self.scope.name, self.scope.region)

    def reboot(self, instance: str) -> None:
        """Stop the server of an instance. The next call of `correct` starts the server again."""
        server = self._servers.get(instance)
        if server is not None and server.running:
            server.stop()

    def correct(self, record: Record, upstream: Source | None, *, is_writer: bool) -> None:
        """Start missing servers, replace a failed writer, and apply parameters and the master password.

        Args:
            record: ministack's record of the cluster.
            upstream: The source from which a secondary cluster copies, or None while the source does not work.
            is_writer: False if the cluster is a secondary cluster of a global database.

        Raises:
            UnreachableError: a server did not start.
        """
        instances = database_records.instances_of(self.scope, record)
        for name in set(self._servers) - set(instances):
            self._forget(name)
        if record["Status"] in {"stopped", "stopping"} or not instances:
            self._stop_all()
            self._open_door(record, instances)
            return
        for name in instances:
            if name not in self._servers:
                unique = f"database-{self.scope.region}-{name}"
                self._servers[name] = PostgresServer(self._context.engine, unique, self._sockets)
        # The door listens before the servers run, because the stage publishes the names of servers that run.
        self._open_door(record, instances)
        if not self._prepare_volume(record, upstream, is_writer=is_writer):
            return
        self._replace_failed_writer(record, instances)
        writer = database_records.writer_of(record)
        self._exchange_folders(writer)
        self._start_all(record, instances, writer, upstream if not is_writer else None)
        self._apply_master_password(record, writer, is_writer=is_writer)
        server = self._servers.get(writer)
        if record.get("IAMDatabaseAuthenticationEnabled") and server is not None and server.running:
            server.correct_master()
        record["Status"] = "available"

    def remove(self) -> None:
        """End all servers of the cluster and delete the cluster's data."""
        self._network.forget(self.scope)
        for name in list(self._servers):
            self._forget(name)
        self._volume.remove()

    def _open_door(self, record: Record, instances: dict[str, Record]) -> None:
        tls_required = database_records.requires_tls(record, database_records.parameters_of(self.scope, record))
        endpoints = self._endpoints(record)
        addresses = {}
        for name, server in self._servers.items():
            names = [database_records.complete_instance(record, instances[name]), *endpoints]
            certificate, key = self._context.authority.issue(names)
            addresses[server.address] = {
                "socket": str(server.socket),
                "certificate": str(certificate),
                "key": str(key),
                "tls_required": tls_required,
            }
        self._network.open(self.scope, addresses)

    def _own_source(self, record: Record) -> Source:
        arn = str(record["DBClusterArn"])
        return Source(arn, self._volume_sockets, self._volume.password, self._volume.version)

    def _writer(self, record: Record) -> PostgresServer | None:
        return self._servers.get(database_records.writer_of(record)) if record.get("DBClusterMembers") else None

    def _prepare_volume(self, record: Record, upstream: Source | None, *, is_writer: bool) -> bool:
        """Create the volume if it does not exist, or copy the source's volume. Returns: True if the volume is usable.

        A secondary cluster copies again if its volume is a copy of another source than `upstream`.
        """
        if is_writer:
            if not self._volume.exists:
                user, password = str(record["MasterUsername"]), str(record["_MasterUserPassword"])
                self._volume.create(user, password, record.get("DatabaseName"))
                self._master = (user, password)
            return True
        if upstream is None:
            # The cluster that writes does not work. Readers of a copy that already exists continue to work.
            return self._volume.exists and self._volume.is_copy
        if not self._volume.exists or not self._volume.follows(upstream):
            self._stop_all()
            self._volume.copy_from(upstream)
        return True

    def _replace_failed_writer(self, record: Record, instances: dict[str, Record]) -> None:
        """Make a reader the writer of the cluster if the process of the writer has ended.

        https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Concepts.AuroraHighAvailability.html
        """
        writer = database_records.writer_of(record)
        if not self._servers[writer].ended:
            return
        for name in instances:
            if name != writer and self._servers[name].running:
                logger.warning("%s: failover from %s to %s", self.scope.name, writer, name)
                database_records.make_writer(self.scope, record, name)
                return

    def _exchange_folders(self, writer: str) -> None:
        """Exchange the folders of the new and the former writer, so that the new writer uses the volume."""
        former = next((name for name, server in self._servers.items() if server.data == self._volume.data), None)
        if former is None or former == writer:
            return
        self._servers[former].stop()
        self._servers[writer].stop()
        self._volume.move_copy(writer, former)

    def _start_all(self, record: Record, instances: dict[str, Record], writer: str, upstream: Source | None) -> None:
        parameters = database_records.parameters_of(self.scope, record)
        writer_source = self._own_source(record)
        for name in sorted(instances, key=lambda name: name != writer):
            server, instance = self._servers[name], instances[name]
            is_new = instance["DBInstanceStatus"] == "creating"
            if not server.running:
                if name != writer and not self._volume.has_copy_for(name):
                    self._volume.make_copy_for(name, writer_source)
                elif name == writer:
                    # The new writer uses the volume. The copy that the new writer used as a reader is out of date.
                    self._volume.remove_copy_of(name)
                server.start(
                    self._volume.data if name == writer else self._volume.copy_for(name),
                    password_file=self._volume.password_file,
                    shared_sockets=self._volume_sockets if name == writer else None,
                    source=upstream if name == writer else writer_source,
                )
            if server.configured != parameters:
                pending = server.apply(parameters)
                server.configured = parameters
                if pending and is_new:
                    # Restart a new server, because on AWS a new instance starts with its static parameters. For an
                    # existing instance, a static parameter takes effect at the next reboot.
                    server.stop()
                    return
            if instance["DBInstanceStatus"] in {"creating", "rebooting"}:
                instance["DBInstanceStatus"] = "available"

    def _endpoints(self, record: Record) -> list[str]:
        """Return the cluster and reader endpoints of all clusters of a global database.

        After a failover, each instance of a global database can serve clients at any of these endpoints.
        """
        global_cluster = database_records.global_cluster_of(self.scope, record) or {}
        names = [str(record["Endpoint"]), str(record["ReaderEndpoint"])]
        for member in global_cluster.get("GlobalClusterMembers", []):
            parts = str(member["DBClusterArn"]).split(":")
            other = database_records.cluster_of(ClusterScope(parts[4], parts[3], parts[6]))
            if other is not None and other is not record:
                names += [str(other["Endpoint"]), str(other["ReaderEndpoint"])]
        return names

    def _apply_master_password(self, record: Record, writer: str, *, is_writer: bool) -> None:
        """Change the master user's password in PostgreSQL after a change of the password in ministack's record."""
        wanted = (str(record["MasterUsername"]), str(record["_MasterUserPassword"]))
        if is_writer and wanted != self._master:
            # A new process of the stage does not know the password in PostgreSQL, so set the password in any case.
            verifier = postgres.scram_verifier(wanted[1])
            self._servers[writer].sql(f"ALTER ROLE {quoted(wanted[0])} PASSWORD '{verifier}'")
            self._master = wanted

    def _stop_all(self) -> None:
        # The readers stop last, because a writer that stops waits until its readers have received all data.
        for server in sorted(self._servers.values(), key=lambda server: server.data != self._volume.data):
            if server.running:
                server.stop()

    def _forget(self, name: str) -> None:
        server = self._servers.pop(name)
        server.remove()
        self._volume.remove_copy_of(name)
