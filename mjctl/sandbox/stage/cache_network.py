"""Decides by security groups whether a task or a function may connect to the nodes of a replication group."""

from __future__ import annotations

from mjctl.sandbox.stage import network_records
from mjctl.sandbox.stage.cache_records import Scope
from mjctl.sandbox.stage.callers import caller_of
from mjctl.sandbox.stage.containers import ContainerEngine


def obstacle(engine: ContainerEngine, scope: Scope, pid: int, port: int) -> str | None:
    """Return the reason for which security groups forbid a connection, or None if they allow the connection.

    Args:
        engine: The engine of the stage, which runs the tasks.
        scope: The replication group.
        pid: The process that has opened the connection. The stage does not apply security groups to processes of the
            operator, which are in no VPC.
        port: The port at which the nodes of the group listen.
    """
    from ministack.core.responses import request_scope

    caller = caller_of(pid, engine)
    if caller is None:
        return None
    with request_scope(scope.account, scope.region):
        source = network_records.caller_end(caller)
        if source is None:
            return f"the task {caller.arn} is in another region or has ended"
        return network_records.security_groups().obstacle(source, network_records.cache_end(scope.name), port)
