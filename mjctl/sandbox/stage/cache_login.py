"""Decides in ministack's process whether a user may log in to the emulated ElastiCache by IAM.

Each replication group has a proxy, its door (mjctl.sandbox.stage.cache_door), which sends a question by a Unix socket.
The rules of AWS for a log-in by IAM: https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from mjctl.sandbox.stage import cache_records
from mjctl.sandbox.stage.cache_records import Record, Scope
from mjctl.sandbox.stage.question_server import QuestionServer

_LONGEST_SECONDS = 900

logger = logging.getLogger("mjctl.sandbox.stage")


def refusal(scope: Scope, user: dict[str, Any], token: str) -> str | None:
    """Return the reason for which ElastiCache refuses a log-in by IAM, or None if ElastiCache allows the log-in.

    Args:
        scope: The replication group to which the client has connected.
        user: ministack's record of the user.
        token: The password of the log-in: the URL of a request that the client's IAM role has signed, without
            `https://`.
    """
    from ministack.core import iam_evaluator as iam
    from ministack.core import sigv4
    from ministack.core.responses import request_scope

    host, _, query = token.partition("/?")
    parameters = parse_qs(query, keep_blank_values=True)
    signature = sigv4.parse_query_signature(parameters)
    if isinstance(signature, tuple):
        return str(signature[1])
    if reason := _mismatch(scope, user, host, parameters, signature):
        return reason
    with request_scope(scope.account, scope.region):
        session_token = parameters.get("X-Amz-Security-Token", [""])[0]
        credential = iam.resolve_credential(signature.access_key_id, scope.account, session_token)
        if isinstance(credential, iam.CredentialResolutionError):
            return str(credential.message)
        # The host of the signed request is the name of the replication group, which the token contains.
        failure = sigv4.header_signature_failure(
            signature, credential.secret_access_key, "GET", "/", parameters, {"host": host}, b"", presigned=True
        )
        if failure is not None:
            return str(failure[1])
        return _missing_permission(scope, user, signature.access_key_id)


def _missing_permission(scope: Scope, user: dict[str, Any], access_key_id: str) -> str | None:
    from ministack.core import iam_evaluator as iam

    prefix = f"arn:aws:elasticache:{scope.region}:{scope.account}"
    for resource in (f"{prefix}:replicationgroup:{scope.name}", f"{prefix}:user:{user['UserId']}"):
        # mjctl.sandbox.stage.calls records the decisions on both resources.
        denied = iam.enforce(access_key_id, "elasticache:Connect", "elasticache", scope.region, resource)
        if isinstance(denied, iam.AuthError):
            return str(denied.message)
        if denied is not None:
            name = denied.principal_arn
            return f"{name} is not authorized to perform elasticache:Connect on {resource}: {denied.decision}"
    return None


def _mismatch(scope: Scope, user: dict[str, Any], host: str, parameters: dict[str, Any], signature: Any) -> str | None:
    from ministack.core import sigv4

    if host != scope.name.lower():
        return f"the token is for the replication group {host!r}"
    if parameters.get("Action") != ["connect"] or parameters.get("User") != [user["UserId"]]:
        return f"the token is for the user {parameters.get('User')}"
    if (signature.service, signature.region) != ("elasticache", scope.region):
        return f"the token is for {signature.service} in {signature.region}"
    seconds = parameters.get("X-Amz-Expires", ["0"])[0]
    try:
        expired = sigv4.presigned_request_is_expired(signature.amz_date, seconds)
    except ValueError:
        return "the token has no valid date"
    if expired or not 0 < int(seconds) <= _LONGEST_SECONDS or sigv4.request_time_failure(signature):
        return "the token has expired"
    return None


class LogInServer:
    """Answers a door's questions: whether a process may connect to a group, and whether a user may log in.

    A question is a line of JSON with `account`, `region` and `group`, and either `pid` or `user` and `password`. The
    answer is a line of JSON with two booleans. `refused` is true if the door must refuse the process or the user. `iam`
    is true if the user logs in by IAM. The door must then replace the user's password by a password of the nodes.
    """

    def __init__(
        self, path: Path, group: Callable[[Scope], Record | None], obstacle: Callable[[Scope, int, int], str | None]
    ) -> None:
        """Listen on a Unix socket.

        Args:
            path: The path of the Unix socket.
            group: Returns ministack's record of a replication group.
            obstacle: Returns the reason for which a process may not connect to a port of a replication group, or None
                if the process may connect.
        """
        self._group = group
        self._obstacle = obstacle
        self._server = QuestionServer(path, self.answer)

    def answer(self, question: dict[str, Any]) -> dict[str, bool]:
        """Answer a question of a door."""
        scope = Scope(question["account"], question["region"], question["group"])
        record = self._group(scope)
        if "pid" in question:
            port = cache_records.port_of(record) if record is not None else cache_records.PORT
            reason = self._obstacle(scope, question["pid"], port)
            if reason is not None:
                logger.warning("%s: %s", scope.name, reason)
            return {"refused": reason is not None, "iam": False}
        users = cache_records.users_of(scope, record) if record is not None else []
        user = next((user for user in users if user["UserName"] == question["user"]), None)
        if user is None or not cache_records.has_iam_log_in(user):
            # The Valkey node checks the passwords of all other users, and refuses users that the group does not have.
            return {"refused": False, "iam": False}
        reason = refusal(scope, user, question["password"])
        if reason is not None:
            logger.warning("%s refused the user %s: %s", scope.name, question["user"], reason)
        return {"refused": reason is not None, "iam": True}

    def close(self) -> None:
        """Stop listening."""
        self._server.close()
