"""Checks those parts of a deployed region that a match and `mjctl health` do not use.

The parts are:

- the web client behind CloudFront, and the shared name of the game servers
- the leaderboard
- the API's refusal of calls past CloudFront
- the refusal of sign-ups and resets of passwords at Cognito past the API, and of other operations by Cognito's firewall
- the limits of log-ins
- the operator's commands
- the calls of roles that IAM refused
- the alarms, which must use metrics that AWS publishes
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Mapping
from urllib.parse import urlsplit

import aiohttp

from gameserver.client.play_socket import USER_AGENT
from gameserver.persistence.call_counts import caller_key
from gameserver.protocol import CODECS
from mjctl.clients.boto import RegionClients
from mjctl.clients.error_codes import error_code
from mjctl.clients.operator_pass import OperatorPass
from mjctl.clients.tls import private_context
from mjctl.models.errors import MjctlError
from tools.stage.alarms import alarms_can_fire
from tools.stage.commands import Commands
from tools.stage.play import SERVER_ERROR, PlayedMatch
from tools.stage.steps import Failure, finding_of

_FORBIDDEN = 403
# The refusals of a user pool that only administrators change, and of the web ACL of a user pool.
_CLOSED = ("ForbiddenException", "NotAuthorizedException")
_CALL_SECONDS = 20.0
# The API's answer of the leaderboard can come from a cache.
_LEADERBOARD_SECONDS = 40.0
# The API allows 10 wrong passwords at once, and then a password every 2 s.
_GUESSES = 30
_COMMANDS = (("cache", "stats"), ("queue", "list"), ("servers", "list"))


def check_parts(commands: Commands, match: PlayedMatch) -> list[str]:
    """Check the parts of the region in which a match was played.

    Returns: A line of text for each checked part.

    Raises:
        Failure: checks failed. The error names all failed checks, and has the step of the first.
    """
    return asyncio.run(_Checks(commands, match).run())


class _Checks:
    def __init__(self, commands: Commands, match: PlayedMatch) -> None:
        self._commands = commands
        self._contract = match.contract
        self._match = match
        self._domain = match.contract.managed.web_domain if match.contract.managed else ""

    async def run(self) -> list[str]:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=private_context(self._contract) or True),
            headers={"User-Agent": USER_AGENT},
            timeout=aiohttp.ClientTimeout(total=_CALL_SECONDS),
        ) as http:
            return await _all(
                self._web_client(http),
                self._shared_name(http),
                self._leaderboard(http),
                self._direct_calls(http),
                self._past_the_api(),
                self._limits(http),
                asyncio.to_thread(self._operators_commands),
                asyncio.to_thread(self._calls),
                alarms_can_fire(self._contract),
            )

    async def _web_client(self, http: aiohttp.ClientSession) -> str:
        step = "the web client"
        page = f"https://{self._domain}/"
        status, text = await _get(http, step, page)
        if status != 200 or "<script" not in text:
            message = f"{page} answers {status} without the page of the web client"
            raise Failure(step, message, temporary=status >= SERVER_ERROR)
        origin = urlsplit(self._match.url)
        if f"{origin.scheme}://{origin.netloc}" not in (await self._content_policy()).replace(";", " ").split():
            raise Failure(step, f"the page's Content-Security-Policy forbids {origin.scheme}://{origin.netloc}")
        status, text = await _get(http, step, f"{page}v1/leaderboard")
        if status != 200 or '"entries"' not in text:
            message = f"{page}v1/leaderboard answers {status} without a leaderboard: {text[:100]}"
            raise Failure(step, message, temporary=status >= SERVER_ERROR)
        return f"{step}: {page} loads, may connect to {origin.netloc} and reads the leaderboard"

    async def _content_policy(self) -> str:
        """Return the page's Content-Security-Policy, which the emulated CloudFront stores but does not send."""
        with RegionClients(self._contract) as clients:
            listed = await clients.call_all("cloudfront", "list_distributions")
            for distribution in listed.get("DistributionList", {}).get("Items", ()):
                policy = distribution["DefaultCacheBehavior"].get("ResponseHeadersPolicyId")
                if policy and self._domain in distribution["Aliases"].get("Items", ()):
                    answer = await clients.call("cloudfront", "get_response_headers_policy", Id=policy)
                    headers = answer["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
                    return str(headers["ContentSecurityPolicy"]["ContentSecurityPolicy"])
        return ""

    async def _shared_name(self, http: aiohttp.ClientSession) -> str:
        """Open a WebSocket by the name `play`, because a client whose WebSocket fails asks the API for another name."""
        step = "the shared name of the game servers"
        url = urlsplit(self._match.url)._replace(netloc=f"play.{self._domain}").geturl()
        try:
            async with http.ws_connect(url, protocols=tuple(CODECS)):
                return f"{step}: {url} accepts a WebSocket"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Failure(step, f"{url} accepts no WebSocket: {str(error) or type(error).__name__}") from error

    async def _leaderboard(self, http: aiohttp.ClientSession) -> str:
        step = "the leaderboard"
        players = {player["player_id"] for player in self._match.reports[0].result["players"]}
        give_up_at = time.monotonic() + _LEADERBOARD_SECONDS
        while True:
            status, text = await self._by_region(http, step, "/v1/leaderboard?limit=100")
            if status == 200 and all(f'"{player}"' in text for player in players):
                return f"{step}: contains both players of the match"
            if time.monotonic() > give_up_at:
                raise Failure(step, f"answers {status}, and does not contain the players of the match: {text[:200]}")
            await asyncio.sleep(1)

    async def _direct_calls(self, http: aiohttp.ClientSession) -> str:
        """Call the API past CloudFront, without a pass and with an operator's pass."""
        step = "calls past CloudFront"
        status, text = await _get(http, step, f"{self._contract.endpoints.api}/v1/leaderboard")
        if status != _FORBIDDEN:
            raise Failure(step, f"a call without a pass is answered by {status}: {text[:100]}")
        status, text = await self._by_region(http, step, "/v1/leaderboard")
        if status != 200:
            raise Failure(step, f"a call with a pass is answered by {status}: {text[:100]}")
        return f"{step}: the API refuses a call without an operator's pass"

    async def _past_the_api(self) -> str:
        """Call Cognito as a stranger who knows the public id of the app client."""
        step = "calls of Cognito past the API"
        identity = self._contract.identity
        home = identity.user_pool_id.partition("_")[0]
        account = {"ClientId": identity.client_id, "Username": f"{secrets.token_hex(6)}@example.com"}
        # Only the web ACL refuses ResendConfirmationCode.
        calls = {
            "sign_up": {"Password": f"Match-{secrets.token_urlsafe(12)}-9"},
            "forgot_password": {},
            "resend_confirmation_code": {},
        }
        with RegionClients(self._contract) as clients:
            for operation, parameters in calls.items():
                try:
                    await clients.call_in(home, "cognito-idp", operation, **account, **parameters)
                except MjctlError as error:
                    code = error_code(error.__cause__) if isinstance(error.__cause__, Exception) else ""
                    if code in _CLOSED:
                        continue
                    raise Failure(step, f"{operation} is answered by another error than a refusal: {error}") from error
                raise Failure(step, f"Cognito accepts {operation} without AWS credentials")
        return f"{step}: Cognito refuses {' and '.join(calls)}"

    async def _by_region(self, http: aiohttp.ClientSession, step: str, path: str) -> tuple[int, str]:
        """Send a request with an operator's pass to the API of the region. Returns: the status and the answer."""
        with RegionClients(self._contract) as clients:
            headers = await OperatorPass(self._contract, clients).headers()
        return await _get(http, step, f"{self._contract.endpoints.api}{path}", headers)

    async def _limits(self, http: aiohttp.ClientSession) -> str:
        """Guess the password of an account through CloudFront, and read the count of the guesses in DynamoDB.

        The count is under the address of this machine only if the function `auth` knows the networks of CloudFront.
        """
        step = "the limits of log-ins"
        email = f"{secrets.token_hex(6)}@example.com"
        url, guess = f"https://{self._domain}/v1/login", {"email": email, "password": "guess"}
        statuses: list[int] = []
        while len(statuses) < _GUESSES and 429 not in statuses:
            try:
                async with http.post(url, json=guess) as response:
                    statuses.append(response.status)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                message = f"{url} does not answer: {str(error) or type(error).__name__}"
                raise Failure(step, message, temporary=True) from error
        if set(statuses) != {401, 429}:
            raise Failure(step, f"{len(statuses)} wrong passwords have the answers {sorted(set(statuses))}")
        key = {"caller": {"S": caller_key("login_by_pair", f"127.0.0.1\n{email}")}}
        with RegionClients(self._contract) as clients:
            table = self._contract.tables["rate_limits"].name
            item = (await clients.call("dynamodb", "get_item", TableName=table, Key=key)).get("Item")
        if not item:
            raise Failure(step, f"the table {table} has no count of the log-ins from the address of this machine")
        return f"{step}: {statuses.count(401)} wrong passwords are answered, and all instances count the next ones"

    def _operators_commands(self) -> str:
        step = "the operator's commands"
        for command in _COMMANDS:
            ran = self._commands.run(*command, "--region", self._contract.region)
            if ran.code != 0:
                raise Failure(step, f"mjctl {ran.command}: {finding_of(ran)}")
            # If the registry of the game servers does not answer, `servers list` succeeds and shows the ECS tasks.
            servers = [row for part in ran.document.get("regions", ()) for row in part.get("servers", ())]
            if servers and all(row["state"] != "ready" for row in servers):
                states = {f"{row['state']} {row['last_incident'] or ''}".strip() for row in servers}
                raise Failure(step, f"mjctl {ran.command} shows no server that is ready: {'; '.join(sorted(states))}")
        return f"{step}: {', '.join(' '.join(command) for command in _COMMANDS)} succeed"

    def _calls(self) -> str:
        step = "the calls of roles"
        refused = self._commands.run("sandbox", "calls", "--refused").document.get("calls", ())
        if refused:
            texts = [f"{call['caller'].rsplit('/', 1)[-1]} {call['action']} {call['resource']}" for call in refused[:5]]
            raise Failure(step, f"IAM refused {len(refused)} calls: {'; '.join(texts)}")
        return f"{step}: IAM refused no call"


async def _all(*checks: Awaitable[str]) -> list[str]:
    """Await the checks one after another, also after a failure. Returns: the line of each check."""
    lines: list[str] = []
    failures: list[Failure] = []
    for check in checks:
        try:
            lines.append(await check)
        except Failure as failure:
            failures.append(failure)
    if failures:
        first, *others = failures
        texts = [first.finding, *(str(failure) for failure in others)]
        raise Failure(first.step, "; ".join(texts), temporary=any(failure.temporary for failure in failures))
    return lines


async def _get(
    http: aiohttp.ClientSession, step: str, url: str, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    try:
        async with http.get(url, allow_redirects=False, headers=headers) as response:
            return response.status, await response.text()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Failure(step, f"{url} does not answer: {str(error) or type(error).__name__}", temporary=True) from error
