"""Runs a Valkey process for every node of ministack's ElastiCache replication groups.

ministack keeps the records of the groups. `CacheNodes` starts the processes that the records describe. Where ministack
differs from AWS, `CacheNodes` corrects the records: the ids, zones and endpoints of nodes, the users, and the primary
after a failover.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from mjctl.sandbox.correction import wrap
from mjctl.sandbox.stage import cache_group, cache_network, cache_records, cache_shards, valkey
from mjctl.sandbox.stage.cache_group import CacheGroup
from mjctl.sandbox.stage.cache_login import LogInServer
from mjctl.sandbox.stage.cache_measures import CacheMeasures
from mjctl.sandbox.stage.cache_records import Record, Scope
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.rounds import Rounds, socket_folder

Handler = Callable[..., Any]

_MOST_PASSWORDS = 2

logger = logging.getLogger("mjctl.sandbox.stage")


class CacheNodes:
    """Runs the nodes of ElastiCache, as a part of the stage."""

    def __init__(self, context: StageContext) -> None:
        """Create the object without a change of ministack."""
        self._context = context
        self._sockets = socket_folder(context.addresses)
        self._log_in = self._sockets / "cache-log-in.sock"
        self._groups: dict[Scope, CacheGroup] = {}
        self._measures = CacheMeasures(context.metrics)
        self._rounds = Rounds("CacheNodes", self._correct_all)
        self._server: LogInServer | None = None

    def install(self) -> None:
        """Correct ministack's ElastiCache, and let the stage publish the DNS names of the endpoints."""
        from ministack.services import elasticache

        from mjctl.sandbox import ministack_cluster_mode

        # Switch off ministack's own containers, because ministack runs a single container for all nodes of a shard.
        wrap(elasticache, "_get_docker", lambda _: lambda: None)
        wrap(elasticache, "_ensure_live_containers", lambda _: lambda: None)
        wrap(elasticache, "_create_replication_group", _create_group)
        wrap(elasticache, "_increase_replica_count", _change_count("IncreaseReplicaCount"))
        wrap(elasticache, "_decrease_replica_count", _change_count("DecreaseReplicaCount"))
        wrap(ministack_cluster_mode, "add_shards", _add_shards)
        wrap(ministack_cluster_mode, "remove_shards", lambda _: _remove_shards)
        wrap(elasticache, "_create_user", _create_user)
        wrap(elasticache, "_modify_user", _modify_user)
        wrap(elasticache, "handle_request", self._with_test_failover)
        engine = self._context.engine
        engine.recipes.append((re.compile(f"^{valkey.IMAGE}$"), valkey.recipe))
        engine.recipes.append((re.compile(f"^{cache_group.DOOR_IMAGE}$"), cache_group.door_recipe))
        self._context.names.append(self._names)
        self._context.measures.append(self._measure)
        self._server = LogInServer(self._log_in, _record_of, partial(cache_network.obstacle, engine))

    def look(self) -> None:
        """Start a correction of the nodes' processes in a background thread."""
        self._rounds.request()

    def close(self) -> None:
        """Stop the corrections of the processes. The stage ends the processes afterwards."""
        self._rounds.close()
        if self._server is not None:
            self._server.close()

    def _correct_all(self) -> None:
        records = dict(cache_records.groups())
        for scope in set(self._groups) - set(records):
            self._groups.pop(scope).remove()
        for scope, record in records.items():
            try:
                cache_records.complete(scope, record)
                if scope not in self._groups:
                    self._groups[scope] = CacheGroup(self._context, scope, self._sockets, self._log_in)
                self._groups[scope].correct(record)
            except Exception:
                logger.exception("the replication group %s was not corrected", scope.name)

    def _measure(self) -> None:
        for group in list(self._groups.values()):
            group.measure(self._measures)

    def _names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for scope, group in list(self._groups.items()):
            record = _record_of(scope)
            if record is not None:
                names |= cache_records.names_of(record, group.addresses())
        return names

    def _with_test_failover(self, original: Handler) -> Handler:
        async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
            parameters = {**query, **parse_qs(body.decode())} if method == "POST" and body else query
            if _parameter(parameters, "Action") == "TestFailover":
                return self._test_failover(parameters)
            return await original(method, path, headers, body, query)

        return handle

    def _test_failover(self, parameters: Mapping[str, Any]) -> Any:
        """Kill the primary of a shard, as the operation TestFailover of ElastiCache does.

        https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_TestFailover.html
        """
        from ministack.core.responses import get_account_id, get_region
        from ministack.services import elasticache

        scope = Scope(get_account_id(), get_region(), _parameter(parameters, "ReplicationGroupId"))
        record, group = _record_of(scope), self._groups.get(scope)
        if record is None:
            message = f"ReplicationGroup {scope.name} not found."
            return elasticache._error("ReplicationGroupNotFoundFault", message, 404)
        number = _parameter(parameters, "NodeGroupId")
        shard = next((shard for shard in record["NodeGroups"] if shard["NodeGroupId"] == number), None)
        if shard is None:
            return elasticache._error("NodeGroupNotFoundFault", f"Node group {number} not found.", 404)
        if record.get("AutomaticFailover") != "enabled":
            message = "Test failover is not available for replication groups without automatic failover."
            return elasticache._error("InvalidParameterCombination", message, 400)
        if record["Status"] != "available" or group is None:
            message = f"Replication group {scope.name} is not in the available state."
            return elasticache._error("InvalidReplicationGroupState", message, 400)
        message = f"Test Failover API called for node group {number}"
        elasticache._record_event(scope.name, "replication-group", message)
        record["Status"] = "modifying"
        answer = _group_answer("TestFailover", record)
        group.fail_primary(shard)
        self._rounds.request()
        return answer


def _record_of(scope: Scope) -> Record | None:
    from ministack.services import elasticache

    record: Record | None = elasticache._replication_groups.get_scoped(*scope)
    return record


def _parameter(parameters: Mapping[str, Any], name: str) -> str:
    value = parameters.get(name, "")
    return str(value[0]) if isinstance(value, list) else str(value)


def _group_answer(action: str, record: Record) -> Any:
    from ministack.services import elasticache

    inner = f"<ReplicationGroup>{elasticache._rg_xml(record)}</ReplicationGroup>"
    return elasticache._xml(200, f"{action}Response", f"<{action}Result>{inner}</{action}Result>")


def _create_group(original: Handler) -> Handler:
    def handle(parameters: Mapping[str, Any]) -> Any:
        from ministack.core.responses import get_account_id, get_region
        from ministack.services import elasticache

        answer = original(parameters)
        if answer[0] != 200:
            return answer
        scope = Scope(get_account_id(), get_region(), _parameter(parameters, "ReplicationGroupId"))
        record = elasticache._replication_groups.get_scoped(*scope)
        zones = elasticache._extract_configs(parameters, "PreferredCacheClusterAZs", ("AvailabilityZone", "member"))
        port = int(_parameter(parameters, "Port") or cache_records.PORT)
        cache_records.complete(scope, record, port=port, zones=zones)
        record["Status"] = "creating"
        return _group_answer("CreateReplicationGroup", record)

    return handle


def _change_count(action: str) -> Callable[[Handler], Handler]:
    def make(original: Handler) -> Handler:
        def handle(parameters: Mapping[str, Any]) -> Any:
            from ministack.core.responses import get_account_id, get_region

            scope = Scope(get_account_id(), get_region(), _parameter(parameters, "ReplicationGroupId"))
            record = _record_of(scope)
            for shard in record["NodeGroups"] if record is not None else ():
                # ministack removes the last nodes in the list. AWS never removes a primary, so the primary comes first.
                shard["NodeGroupMembers"].sort(key=lambda member: member["CurrentRole"] != "primary")
            answer = original(parameters)
            if record is None or answer[0] != 200:
                return answer
            cache_records.complete(scope, record)
            record["Status"] = "modifying"
            return _group_answer(action, record)

        return handle

    return make


def _add_shards(original: Handler) -> Handler:
    def add(record: Record, count: int) -> None:
        original(record, count)
        record["Status"] = "modifying"

    return add


def _remove_shards(record: Record, identifiers: Sequence[str]) -> None:
    """Let a background thread move the slots of the shards, and then remove the shards."""
    cache_shards.mark_leaving(record, list(identifiers))
    record["Status"] = "modifying"


def _create_user(original: Handler) -> Handler:
    def handle(parameters: Mapping[str, Any]) -> Any:
        from ministack.services import elasticache

        identifier, name = _parameter(parameters, "UserId"), _parameter(parameters, "UserName")
        if _parameter(parameters, "AuthenticationMode.Type") == "iam" and identifier != name:
            # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html#auth-iam-limits
            message = "For IAM authentication, the user name and the user id must be the same."
            return elasticache._error("InvalidParameterValue", message, 400)
        answer = original(parameters)
        if answer[0] == 200:
            _store_passwords(elasticache._users.get(identifier), parameters)
        return answer

    return handle


def _modify_user(original: Handler) -> Handler:
    def handle(parameters: Mapping[str, Any]) -> Any:
        from ministack.services import elasticache

        answer = original(parameters)
        user = elasticache._users.get(_parameter(parameters, "UserId"))
        if answer[0] != 200 or user is None:
            return answer
        if appended := _parameter(parameters, "AppendAccessString"):
            user["AccessString"] = f"{user['AccessString']} {appended}"
        kind = _parameter(parameters, "AuthenticationMode.Type")
        if kind == "iam":
            user["Authentication"] = {"Type": "iam", "PasswordCount": 0}
            user["_stage_password_digests"] = []
        elif kind == "no-password-required" or _parameter(parameters, "NoPasswordRequired") == "true":
            user["Authentication"] = {"Type": "no-password", "PasswordCount": 0}
            user["_stage_password_digests"] = []
        _store_passwords(user, parameters)
        inner = f"<ModifyUserResult>{elasticache._user_xml(user)}</ModifyUserResult>"
        return elasticache._xml(200, "ModifyUserResponse", inner)

    return handle


def _store_passwords(user: Record | None, parameters: Mapping[str, Any]) -> None:
    """Keep the digests of a user's passwords. ministack keeps only the number of the passwords."""
    prefixes = ("Passwords.member", "AuthenticationMode.Passwords.member")
    names = [f"{prefix}.{number}" for prefix in prefixes for number in range(1, _MOST_PASSWORDS + 1)]
    passwords = [password for name in names if (password := _parameter(parameters, name))]
    if user is not None and passwords:
        user["_stage_password_digests"] = [cache_records.digest_of(password) for password in passwords]
        user["Authentication"] = {"Type": "password", "PasswordCount": len(passwords)}
