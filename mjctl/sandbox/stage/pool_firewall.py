"""Lets the web ACL of a user pool decide on the requests that Cognito answers without AWS credentials.

On AWS, WAF does not inspect operations that need AWS credentials. Cognito sends WAF a few headers of a request. Two of
the headers name the operation and the app client. WAF gets no names and no passwords:
https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-waf.html
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from mjctl.sandbox.correction import wrap
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.web_acls import KeptFirewalls, WebAcls
from mjctl.sandbox.stage.web_request import WebRequest

Handler = Callable[..., Awaitable[Any]]
Headers = Mapping[str, str]

_TARGET = "AWSCognitoIdentityProviderService."
_KEYS = re.compile(r"/(?P<pool>[a-z0-9-]+_[A-Za-z0-9]+)/\.well-known/(jwks\.json|openid-configuration)")
# The address of all clients of the stage.
_CLIENT = "127.0.0.1"
# AWS documents the error, and not its message:
# https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/CommonErrors.html
# The message and the status 403 are those that a client of Cognito reported:
# https://github.com/ravenscar/franken-srp/issues/13
_BLOCKED = "Request not allowed due to WAF block."

logger = logging.getLogger("mjctl.sandbox.stage")


class PoolFirewall:
    """Blocks requests to Cognito as the web ACLs of the user pools say, as a part of the stage.

    Without moto, which has the web ACLs, the part does nothing.
    """

    def __init__(self, context: StageContext) -> None:
        self._account_id = context.account_id
        self._firewalls = (
            KeptFirewalls(WebAcls(context.moto, context.access_key_id).of_resource) if context.moto else None
        )

    def install(self) -> None:
        """Check each public operation and each request for public keys before ministack answers it."""
        from ministack import app
        from ministack.services import cognito

        if self._firewalls is not None:
            wrap(cognito, "handle_request", self._with_checked_operations)
            wrap(app, "_handle_cognito_get_request", self._with_checked_keys)

    def look(self) -> None:
        """Do nothing, because Cognito has no processes."""

    def close(self) -> None:
        """Do nothing, because Cognito has no processes."""

    def _with_checked_operations(self, original: Handler) -> Handler:
        from ministack.core.iam_actions import unsigned_operations
        from ministack.services import cognito

        async def handle(method: str, path: str, headers: Headers, body: bytes, query: Any) -> Any:
            target = headers.get("x-amz-target", "")
            operation = target.removeprefix(_TARGET)
            if target.startswith(_TARGET) and operation in unsigned_operations("cognito-idp"):
                parameters = _parameters(body)
                named = {"x-amzn-cognito-operation-name": operation, "x-amzn-cognito-client-id": _client(parameters)}
                # A parameter that the operation ignores could name another user pool, so all the pools decide.
                for pool in sorted(set(_pools(parameters))):
                    if await self._blocks(pool, method, path, headers, named):
                        return cognito.error_response_json("ForbiddenException", _BLOCKED, 403)
            return await original(method, path, headers, body, query)

        return handle

    def _with_checked_keys(self, original: Handler) -> Handler:
        async def handle(method: str, path: str, headers: Headers, query: Any) -> Any:
            keys = _KEYS.fullmatch(path)
            if method == "GET" and keys is not None and await self._blocks(keys["pool"], method, path, headers, {}):
                return 403, {"Content-Type": "application/json"}, b'{"message":"Forbidden"}'
            return await original(method, path, headers, query)

        return handle

    async def _blocks(self, pool: str, method: str, path: str, headers: Headers, named: Headers) -> bool:
        from ministack.services import cognito

        if self._firewalls is None or cognito._get_pool_unscoped(pool) is None:
            return False
        arn = f"arn:aws:cognito-idp:{pool.partition('_')[0]}:{self._account_id}:userpool/{pool}"
        sent = {"host": headers.get("host"), "user-agent": headers.get("user-agent"), **named}
        given = [(name, value) for name, value in sent.items() if value]
        request = WebRequest(_CLIENT, method, path, "", given)
        decision = await asyncio.to_thread(self._firewalls.decide, arn, request)
        if decision is None or decision.allowed:
            return False
        what = named.get("x-amzn-cognito-operation-name", path)
        logger.warning("the user pool %s: the rule %s blocks %s", pool, decision.rule, what)
        return True


def _parameters(body: bytes) -> Mapping[str, Any]:
    try:
        parameters = json.loads(body or b"{}")
    except ValueError:
        return {}
    return parameters if isinstance(parameters, dict) else {}


def _pools(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield the id of each user pool that the parameters of an operation name."""
    from ministack.services import cognito

    pool = parameters.get("UserPoolId")
    if isinstance(pool, str) and pool:
        yield pool
    client = parameters.get("ClientId")
    if isinstance(client, str) and (scope := cognito._pool_scope_for_client(client)):
        yield scope[0]
    session = parameters.get("Session")
    if isinstance(session, str) and (challenge := cognito._challenge_sessions.get(session)):
        yield challenge["pool_id"]
    if named := cognito._pool_id_from_token(parameters.get("AccessToken")):
        yield named


def _client(parameters: Mapping[str, Any]) -> str:
    """Return the id of the app client that the parameters or the access token name, or an empty text."""
    from ministack.services import cognito

    client = parameters.get("ClientId")
    if not client and isinstance(token := parameters.get("AccessToken"), str):
        client = (cognito._token_claims(token) or {}).get("client_id")
    return client if isinstance(client, str) else ""
