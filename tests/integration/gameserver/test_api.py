"""Tests the API as a player's client uses it, with a user pool, tables, a database and a Redis."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import signal
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import boto3
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from redis.asyncio import Redis

from gameserver.client import ApiError, GameClient
from gameserver.client.totp import totp
from gameserver.cluster import closure
from gameserver.cluster.directory import Directory, ServerInfo
from gameserver.functions import accounts
from gameserver.functions.account_codes import CodePurpose
from gameserver.functions.services import Services
from gameserver.runtime.settings import Settings
from gameserver.server.process import end_tasks

PASSWORD = "correct Horse 7 battery"


@pytest.fixture(scope="module")
def settings(make_settings: Any, aws: Any) -> Settings:
    kms = boto3.client("kms", region_name=aws.region, endpoint_url=aws.endpoint)
    key = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    return make_settings(code_key_arn=key["KeyMetadata"]["Arn"])


@pytest.fixture(scope="module")
def api(run_game: Any, settings: Settings) -> Iterator[Any]:
    with run_game("api", settings) as process:
        process.await_status("/readyz", 200)
        yield process


class Client:
    """Calls the API as a player's client, and checks that every answer is JSON."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.token = ""

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.session.request(method, path, json=body, headers=headers, **options) as answer:
            assert answer.content_type == "application/json"
            assert answer.headers["X-Request-Id"]
            return answer.status, await answer.json()

    async def play_as(self, email: str, name: str = "Ada") -> str:
        """Sign up and log in; return the player's id."""
        body = {"email": email, "password": PASSWORD, "display_name": name}
        status, answer = await self.call("POST", "/v1/signup", body)
        assert (status, answer["confirmed"]) == (201, True), answer
        status, tokens = await self.call("POST", "/v1/login", {"email": email, "password": PASSWORD})
        assert status == 200, tokens
        self.token = tokens["access_token"]
        return str(answer["player_id"])


@pytest.fixture
async def client(api: Any) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(api.url) as session:
        yield Client(session)


@pytest.fixture
def server() -> dict[str, str]:
    """Return a game server with a unique id, because the directory counts the matches it recently sent to an id."""
    return {"id": f"game-{uuid.uuid4().hex[:8]}", "zone": "us-east-1a", "url": "ws://127.0.0.1:9"}


@asynccontextmanager
async def alive(directory: Directory, server: dict[str, str], max_players: int) -> AsyncIterator[None]:
    """Send heartbeats of a server without matches during the body of an `async with`."""
    info = ServerInfo(**server, players=0, matches=0, max_players=max_players, draining=False)

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.3)
            await directory.heartbeat(info)

    await directory.heartbeat(info)
    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        await end_tasks([beating])


@pytest.fixture
async def directory(settings: Settings, server: dict[str, str]) -> AsyncIterator[Directory]:
    """Yield the region's directory with one live server, which has room for 30 players."""
    async with Redis.from_url(settings.state_url) as redis:
        await redis.flushdb()
        directory = Directory(redis)
        async with alive(directory, server, max_players=30):
            yield directory


def _item(settings: Settings, table: str, **key: str) -> dict[str, Any]:
    dynamodb = boto3.client("dynamodb", region_name=settings.region, endpoint_url=settings.aws_endpoint_url)
    answer = dynamodb.get_item(
        TableName=settings.tables[table], Key={name: {"S": value} for name, value in key.items()}
    )
    return dict(answer.get("Item", {}))


async def test_sign_up_log_in_and_refresh(client: Client, settings: Settings) -> None:
    credentials = {"email": " Ada@Example.com ", "password": PASSWORD}
    status, signed_up = await client.call("POST", "/v1/signup", {**credentials, "display_name": "  Ada   L. "})
    assert (status, signed_up["confirmed"]) == (201, True)
    item = _item(settings, "players", player_id=signed_up["player_id"])
    assert item == {"player_id": {"S": signed_up["player_id"]}, "display_name": {"S": "Ada L."}}

    status, tokens = await client.call("POST", "/v1/login", credentials)
    assert status == 200
    assert tokens.keys() == {"access_token", "id_token", "refresh_token", "expires_in", "token_type"}
    assert jwt.decode(tokens["access_token"], options={"verify_signature": False})["sub"] == signed_up["player_id"]

    status, fresh = await client.call("POST", "/v1/refresh", {"refresh_token": tokens["refresh_token"]})
    assert status == 200
    assert fresh.keys() == {"access_token", "id_token", "expires_in", "token_type"}
    client.token = fresh["access_token"]
    status, profile = await client.call("GET", "/v1/profile")
    assert (status, profile["player_id"]) == (200, signed_up["player_id"])


async def test_a_login_does_not_show_whether_an_address_has_an_account(client: Client) -> None:
    await client.play_as("known@example.com")
    client.token = ""
    wrong = await client.call("POST", "/v1/login", {"email": "known@example.com", "password": "wrong Horse 7 battery"})
    unknown = await client.call("POST", "/v1/login", {"email": "unknown@example.com", "password": PASSWORD})
    assert wrong == unknown
    assert (wrong[0], wrong[1]["error"]["code"]) == (401, "invalid_credentials")


async def test_a_code_that_does_not_fit_has_one_answer_for_all_addresses(client: Client) -> None:
    """Test that the answers do not show which addresses have an account."""
    await client.play_as("confirmed@example.com")
    client.token = ""
    unknown = await client.call("POST", "/v1/confirm", {"email": "nobody@example.com", "code": "123456"})
    assert (unknown[0], unknown[1]["error"]["code"]) == (400, "invalid_code")
    sent = [
        await client.call("POST", "/v1/confirm/resend", {"email": email})
        for email in ("confirmed@example.com", "nobody@example.com")
    ]
    assert sent == [(202, {})] * 2


@pytest.mark.parametrize(("path", "body"), [("/v1/confirm", {"code": "1"}), ("/v1/confirm/resend", {})])
async def test_codes_are_limited_for_each_account(client: Client, path: str, body: dict[str, str]) -> None:
    first, _ = await client.call("POST", path, {**body, "email": "limited@example.com"})
    for _ in range(20):
        status, answer = await client.call("POST", path, {**body, "email": "limited@example.com"})
        if status == 429:
            break
    assert first != 429
    assert (status, answer["error"]["code"]) == (429, "too_many_requests")
    assert (await client.call("POST", path, {**body, "email": "free@example.com"}))[0] != 429


async def test_guesses_of_the_password_of_an_account_are_limited(client: Client) -> None:
    body = {"email": "victim@example.com", "password": "guess"}
    for _ in range(100):
        status, answer = await client.call("POST", "/v1/login", body)
        if status != 401:
            break
    assert (status, answer["error"]["code"]) == (429, "too_many_requests")
    async with client.session.post("/v1/login", json=body) as answer:
        assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/v1/signup", {"email": "x@example.com", "password": "short", "display_name": "X"}, "weak_password"),
        ("/v1/signup", {"email": "no address", "password": PASSWORD, "display_name": "X"}, "invalid_email"),
        ("/v1/signup", {"email": "x@example.com", "password": PASSWORD, "display_name": "  "}, "invalid_display_name"),
        ("/v1/signup", {"email": "x@example.com", "password": PASSWORD}, "invalid_request"),
        ("/v1/signup", ["x"], "invalid_request"),
        ("/v1/login", {"email": "x@example.com", "password": 7}, "invalid_request"),
        ("/v1/refresh", {}, "invalid_request"),
    ],
)
async def test_invalid_input_is_refused(client: Client, path: str, body: Any, code: str) -> None:
    status, answer = await client.call("POST", path, body)
    assert (status, answer["error"]["code"]) == (400, code)
    assert answer["error"]["message"]


async def test_an_invalid_refresh_token_is_refused(client: Client) -> None:
    status, answer = await client.call("POST", "/v1/refresh", {"refresh_token": "nonsense"})
    assert (status, answer["error"]["code"]) == (401, "invalid_refresh_token")


async def test_large_and_invalid_bodies_are_refused(client: Client) -> None:
    status, answer = await client.call("POST", "/v1/login", {"email": "x" * 20_000, "password": "x"})
    assert (status, answer["error"]["code"]) == (413, "body_too_large")
    async with client.session.post("/v1/login", data=b"\xff not json") as reply:
        assert reply.status == 400
        assert (await reply.json())["error"]["code"] == "invalid_request"
    deep = b'{"email": "a@example.com", "password": "x", "zz": ' + b"[" * 8000 + b"]" * 8000 + b"}"
    async with client.session.post("/v1/login", data=deep) as reply:
        assert reply.status == 400
        assert (await reply.json())["error"]["code"] == "invalid_request"


async def test_unknown_paths_and_methods_are_refused(client: Client) -> None:
    assert (await client.call("GET", "/v1/nothing"))[0] == 404
    assert (await client.call("DELETE", "/v1/profile"))[0] == 405


async def test_protected_routes_need_a_good_token(client: Client) -> None:
    routes = [("GET", "/v1/profile"), ("PUT", "/v1/profile"), ("POST", "/v1/matches"), ("GET", "/v1/matches/x")]
    await client.play_as("token@example.com")
    good = client.token
    head, payload, signature = good.split(".")
    for token in ("", "nonsense", f"{head}.{payload}.{signature[:-4]}AAAA", f"{head}.{payload}."):
        client.token = token
        for method, path in routes:
            status, answer = await client.call(method, path, {})
            assert (status, answer["error"]["code"]) == (401, "unauthorized"), (token, path)


async def test_an_id_token_is_not_an_access_token(client: Client) -> None:
    await client.play_as("id@example.com")
    body = {"email": "id@example.com", "password": PASSWORD}
    client.token = (await client.call("POST", "/v1/login", body))[1]["id_token"]
    assert (await client.call("GET", "/v1/profile"))[0] == 401


async def test_a_profile_can_be_read_and_changed(client: Client) -> None:
    player_id = await client.play_as("profile@example.com", "Grace")
    unset = {"email": None, "device_id": None, "address": None}
    expected = {"player_id": player_id, "matches": 0, "wins": 0, "total_score": 0, "best_score": 0, "contact": unset}
    assert await client.call("GET", "/v1/profile") == (200, {**expected, "display_name": "Grace"})
    changed = await client.call("PUT", "/v1/profile", {"display_name": "Grace H."})
    assert changed == (200, {**expected, "display_name": "Grace H."})
    assert await client.call("GET", "/v1/profile") == changed


CONTACT = {"email": "grace.home@example.com", "device_id": "device-4711-grace", "address": "Hopper Street 1, Köln"}


async def test_contact_fields_are_stored_encrypted_and_nowhere_in_plain_text(
    api: Any, client: Client, settings: Settings
) -> None:
    player_id = await client.play_as("contact@example.com", "Grace")
    status, changed = await client.call("PUT", "/v1/profile", CONTACT)
    assert (status, changed["contact"], changed["display_name"]) == (200, CONTACT, "Grace")
    # The first read of the profile comes from table and database, and the second read comes from the cache.
    for _ in range(2):
        assert (await client.call("GET", "/v1/profile"))[1] == changed

    item = _item(settings, "players", player_id=player_id)
    assert item.keys() == {"player_id", "display_name", *CONTACT}
    assert all(item[field].keys() == {"B"} for field in CONTACT)
    raw = b"".join(item[field]["B"] for field in CONTACT)
    async with Redis.from_url(settings.cache_url) as redis:
        cached = b"".join([key + (await redis.get(key) or b"") async for key in redis.scan_iter("cache:{profile}:*")])
    assert player_id.encode() in cached
    log = api.log_path.read_bytes()
    for value in CONTACT.values():
        for text in (value.encode(), value.encode().hex().encode(), base64.b64encode(value.encode())[:-4]):
            assert text not in raw
            assert text not in cached
            assert text not in log


async def test_a_change_of_a_contact_field_keeps_the_other_fields(client: Client, settings: Settings) -> None:
    player_id = await client.play_as("change@example.com", "Grace")
    await client.call("PUT", "/v1/profile", CONTACT)
    _, changed = await client.call("PUT", "/v1/profile", {"email": " New@Example.com ", "address": None})
    assert changed["contact"] == {"email": "new@example.com", "device_id": CONTACT["device_id"], "address": None}
    assert changed["display_name"] == "Grace"
    assert "address" not in _item(settings, "players", player_id=player_id)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"email": "nobody"}, "invalid_email"),
        ({"email": ""}, "invalid_request"),
        ({"address": "two\nlines"}, "invalid_request"),
        ({"address": " "}, "invalid_request"),
        ({"device_id": "x" * 129}, "invalid_request"),
        ({"device_id": 7}, "invalid_request"),
        ({"display_name": None}, "invalid_request"),
    ],
)
async def test_an_invalid_profile_changes_nothing(client: Client, body: Any, code: str) -> None:
    await client.play_as(f"{uuid.uuid4().hex}@example.com")
    _, before = await client.call("GET", "/v1/profile")
    status, answer = await client.call("PUT", "/v1/profile", body)
    assert (status, answer["error"]["code"]) == (400, code)
    assert await client.call("GET", "/v1/profile") == (200, before)


async def test_a_field_copied_from_another_player_cannot_be_decrypted(client: Client, settings: Settings) -> None:
    victim = await client.play_as("victim2@example.com")
    await client.call("PUT", "/v1/profile", {"address": "Secret Road 7"})
    stolen = _item(settings, "players", player_id=victim)["address"]
    thief = await client.play_as("thief@example.com")
    dynamodb = boto3.client("dynamodb", region_name=settings.region, endpoint_url=settings.aws_endpoint_url)
    dynamodb.update_item(
        TableName=settings.tables["players"],
        Key={"player_id": {"S": thief}},
        UpdateExpression="SET address = :stolen",
        ExpressionAttributeValues={":stolen": stolen},
    )
    status, answer = await client.call("GET", "/v1/profile")
    assert (status, answer["error"]["code"]) == (500, "undecipherable")
    assert "Secret" not in json.dumps(answer)


async def test_a_new_match_is_registered_before_the_answer(
    client: Client, directory: Directory, server: dict[str, str], settings: Settings
) -> None:
    player_id = await client.play_as("match@example.com")
    status, ticket = await client.call("POST", "/v1/matches", {"mode": "sprint"})
    assert status == 201
    assert ticket == {"match_id": ticket["match_id"], "mode": "sprint", "state": "starting", "server": server}

    item = _item(settings, "matches", match_id=ticket["match_id"])
    assert item["state"] == {"S": "starting"}
    assert item["created_by"] == {"S": player_id}
    assert time.time() < int(item["expires_at"]["N"]) < time.time() + 2 * 3600
    assert int(item["created_at"]["N"]) == pytest.approx(time.time() * 1000, abs=60_000)
    located = await directory.locate(ticket["match_id"])
    assert located is not None
    assert located[0].mode == "sprint"

    status, answer = await client.call("GET", f"/v1/matches/{ticket['match_id']}")
    assert (status, answer) == (200, {**ticket, "result": None})


async def test_an_open_match_is_joined(client: Client, directory: Directory) -> None:
    await client.play_as("open@example.com")
    _, first = await client.call("POST", "/v1/matches", {"mode": "sprint", "join": "open"})
    _, second = await client.call("POST", "/v1/matches", {"mode": "sprint", "join": "open"})
    _, third = await client.call("POST", "/v1/matches", {"mode": "sprint", "join": "new"})
    assert first["match_id"] == second["match_id"] != third["match_id"]


async def test_internal_accounts_get_separate_matches(client: Client, directory: Directory, settings: Settings) -> None:
    await client.play_as("player@example.com")
    _, players = await client.call("POST", "/v1/matches", {"mode": "sprint", "join": "open"})
    # The API ignores the field `internal` in a client's request.
    _, claimed = await client.call("POST", "/v1/matches", {"mode": "sprint", "join": "open", "internal": True})
    assert claimed["match_id"] == players["match_id"]

    probe = await client.play_as("probe@example.com")
    cognito = boto3.client("cognito-idp", region_name=settings.region, endpoint_url=settings.aws_endpoint_url)
    cognito.admin_add_user_to_group(UserPoolId=settings.user_pool_id, Username=probe, GroupName="internal")
    _, tokens = await client.call("POST", "/v1/login", {"email": "probe@example.com", "password": PASSWORD})
    client.token = tokens["access_token"]
    _, first = await client.call("POST", "/v1/matches", {"mode": "sprint", "join": "open"})
    _, second = await client.call("POST", "/v1/matches", {"mode": "sprint", "join": "open"})
    assert first["match_id"] == second["match_id"] != players["match_id"]
    internal = {}
    for match_id in (players["match_id"], first["match_id"]):
        located = await directory.locate(match_id)
        assert located is not None
        internal[match_id] = located[0].internal
    assert internal == {players["match_id"]: False, first["match_id"]: True}


async def test_players_who_arrive_at_the_same_time_share_matches(client: Client, directory: Directory) -> None:
    await client.play_as("crowd@example.com")
    # A match of `sprint` has ten seats, so a region with room for 30 players has room for three matches.
    calls = [client.call("POST", "/v1/matches", {"mode": "sprint", "join": "open"}) for _ in range(13)]
    answers = await asyncio.gather(*calls)
    assert [status for status, _ in answers] == [201] * 13
    assert sorted(Counter(ticket["match_id"] for _, ticket in answers).values()) == [3, 10]


async def test_a_closed_region_names_the_open_regions(client: Client, directory: Directory, settings: Settings) -> None:
    await client.play_as("closed@example.com")
    elsewhere = (closure.Alternative("eu-west-1", "http://127.0.0.1:1"),)
    async with Redis.from_url(settings.state_url) as redis:
        await redis.set(closure.KEY, closure.encode(closure.Closure(1, elsewhere)))
        for join in ("new", "open"):
            status, answer = await client.call("POST", "/v1/matches", {"mode": "arena", "join": join})
            assert (status, answer["error"]["code"]) == (503, "region_closed")
            assert answer["error"]["regions"] == [{"region": "eu-west-1", "api": "http://127.0.0.1:1"}]
        assert await directory.active_matches() == []
        assert (await client.call("GET", "/v1/profile"))[0] == 200
        await redis.delete(closure.KEY)
    assert (await client.call("POST", "/v1/matches", {"mode": "arena"}))[0] == 201


async def test_a_match_is_refused_when_no_server_has_room(client: Client, directory: Directory) -> None:
    await client.play_as("late@example.com")
    # Create the matches at the same time, because the directory counts a new match as load of its server only until the
    # server's next heartbeats.
    calls = [client.call("POST", "/v1/matches", {"mode": "arena"}) for _ in range(4)]
    answers = sorted(await asyncio.gather(*calls), key=lambda answer: answer[0])
    assert [status for status, _ in answers] == [201, 201, 201, 503]
    assert answers[-1][1]["error"]["code"] == "no_capacity"


async def test_the_matches_that_a_player_can_create_are_limited(
    client: Client, directory: Directory, server: dict[str, str]
) -> None:
    await client.play_as("many@example.com")
    async with alive(directory, {**server, "id": f"{server['id']}-big"}, max_players=100_000):
        for _ in range(100):
            status, answer = await client.call("POST", "/v1/matches", {"mode": "arena"})
            if status != 201:
                break
    assert (status, answer["error"]["code"]) == (429, "too_many_requests")


async def test_a_rush_of_requests_is_limited_and_gets_a_time_to_retry(
    api: Any, client: Client, directory: Directory, server: dict[str, str]
) -> None:
    tokens = []
    for number in range(18):
        await client.play_as(f"rush-{number}@example.com")
        tokens.append(client.token)

    async def create(token: str) -> tuple[int, str, str | None]:
        headers = {"Authorization": f"Bearer {token}"}
        async with client.session.post("/v1/matches", json={"mode": "arena"}, headers=headers) as answer:
            code = (await answer.json()).get("error", {}).get("code", "")
            return answer.status, code, answer.headers.get("Retry-After")

    probes = []
    big = {**server, "id": f"{server['id']}-big"}
    # Use a separate session for the operator, because the players' requests wait for connections of the players'
    # session.
    async with alive(directory, big, max_players=100_000), aiohttp.ClientSession(api.url) as operator:
        creations = asyncio.gather(*(create(token) for token in tokens for _ in range(20)))
        while not creations.done():
            async with operator.get("/healthz", timeout=aiohttp.ClientTimeout(total=5)) as answer:
                probes.append(answer.status)
            await asyncio.sleep(0.05)
        answers = await creations
    assert set(probes) == {200}
    created = [answer for answer in answers if answer[0] == 201]
    refused = [answer for answer in answers if answer[0] != 201]
    assert len(created) >= 64
    assert refused
    assert {(status, code) for status, code, _ in refused} == {(503, "busy")}
    assert {int(wait or 0) for _, _, wait in refused} <= {1, 2, 3}
    client.token = tokens[0]
    async with client.session.get("/healthz") as answer:
        assert answer.status == 200
    assert len(await directory.active_matches()) == len(created)


async def test_match_requests_are_validated(client: Client, directory: Directory) -> None:
    await client.play_as("mode@example.com")
    status, answer = await client.call("POST", "/v1/matches", {"mode": "chess"})
    assert (status, answer["error"]["code"]) == (400, "unknown_mode")
    assert "sprint" in answer["error"]["message"]
    assert (await client.call("POST", "/v1/matches", {"mode": "arena", "join": "any"}))[0] == 400
    assert (await client.call("GET", "/v1/matches/nothing"))[0] == 404
    assert (await client.call("GET", f"/v1/matches/{'x' * 3000}"))[0] == 404


async def test_the_limit_of_the_leaderboard_is_validated(client: Client) -> None:
    assert await client.call("GET", "/v1/leaderboard") == (200, {"entries": []})
    for limit in ("0", "101", "x", "-1", "²"):
        assert (await client.call("GET", f"/v1/leaderboard?limit={limit}"))[0] == 400


async def test_operations_routes_and_metrics_answer(api: Any, client: Client) -> None:
    await client.call("GET", "/v1/leaderboard")
    assert api.get("/healthz")[0] == 200
    assert json.loads(api.get("/readyz")[1])["dependencies"] == {
        "state": "ok",
        "cache": "ok",
        "postgres": "ok",
        "dynamodb": "ok",
    }
    metrics = api.get("/metrics")[1]
    assert 'gameserver_api_requests_total{method="GET",route="/v1/leaderboard",status="200"}' in metrics
    assert "gameserver_cache_reads_total" in metrics


async def test_logs_contain_ids_and_no_personal_data(api: Any, client: Client) -> None:
    await client.play_as("private@example.com", "Private Name")
    async with client.session.get("/v1/leaderboard", headers={"X-Request-Id": "trace-0123456789"}) as answer:
        assert answer.headers["X-Request-Id"] == "trace-0123456789"
    lines = [line for line in api.log if line["event"] == "request"]
    assert any(line["request_id"] == "trace-0123456789" and line["status"] == 200 for line in lines)
    text = json.dumps(api.log)
    for personal in ("private@example.com", "Private Name", PASSWORD, client.token, "127.0.0.1:9"):
        assert personal not in text


def test_the_api_starts_and_stops_without_its_dependencies(
    run_game: Any, settings: Settings, unused_tcp_port: int
) -> None:
    dead = f"http://127.0.0.1:{unused_tcp_port}"
    alone = dataclasses.replace(
        settings,
        state_url=f"redis://127.0.0.1:{unused_tcp_port}",
        cache_url=f"redis://127.0.0.1:{unused_tcp_port}",
        database_port=unused_tcp_port,
        aws_endpoint_url=dead,
        jwks_url=f"{dead}/keys",
    )
    with run_game("api", alone) as process:
        assert process.get("/healthz")[0] == 200
        status, body = process.get("/readyz")
        assert status == 503
        assert all(state != "ok" for state in json.loads(body)["dependencies"].values())
        assert process.get("/v1/leaderboard")[0] == 503
        assert process.stop() == 0


class SlowUserPool:
    """Simulates a user pool that refuses every login, and that answers after the test has set `answer`.

    Attributes:
        requests: number of logins that have arrived.
        answer: event that the test sets, so that the user pool answers the logins.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.answer = asyncio.Event()

    async def handle(self, _: web.Request) -> web.Response:
        self.requests += 1
        await self.answer.wait()
        refused = {"__type": "NotAuthorizedException", "message": "Incorrect username or password."}
        return web.json_response(refused, status=400)


async def test_requests_in_progress_are_answered_before_the_process_ends(run_game: Any, settings: Settings) -> None:
    pool = SlowUserPool()
    application = web.Application()
    application.router.add_post("/", pool.handle)
    async with TestServer(application, host="127.0.0.1") as stand_in:
        slow = dataclasses.replace(settings, aws_endpoint_url=str(stand_in.make_url("")))
        with run_game("api", slow) as process:
            async with aiohttp.ClientSession(process.url) as session:
                body = {"email": "end@example.com", "password": PASSWORD}
                calls = [asyncio.create_task(session.post("/v1/login", json=body)) for _ in range(8)]
                while pool.requests < len(calls):
                    assert not any(call.done() for call in calls)
                    await asyncio.sleep(0.02)
                process.process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(process.await_log, "stopping")
                pool.answer.set()
                answers = await asyncio.gather(*calls)
                assert [answer.status for answer in answers] == [401] * 8
            assert await asyncio.to_thread(process.process.wait, 15) == 0


async def code_for_reset(settings: Settings, email: str) -> str:
    """Return the code that a mail would have. The API of the test sends no mail."""
    with closing_services(settings) as services:
        account = await accounts.find_account(services, email)
        assert account is not None
        return await services.codes.issue(CodePurpose.RESET, account.player_id, email, account.changed_at)


@contextmanager
def closing_services(settings: Settings) -> Iterator[Services]:
    services = Services(settings)
    try:
        yield services
    finally:
        services.aws.close()


async def test_a_player_client_resets_its_password_and_uses_a_second_factor(api: Any, settings: Settings) -> None:
    """Test the methods of the client."""
    email, password = "client@example.com", "another Horse 8 battery"
    async with GameClient(api.url) as player:
        await player.sign_up(email, PASSWORD, "Ada")
        await player.forgot_password(email)
        with pytest.raises(ApiError) as refused:
            await player.reset_password(email, "1234 5678 9012", password)
        assert (refused.value.status, refused.value.code) == (400, "reset_refused")
        await player.reset_password(email, await code_for_reset(settings, email), password)
        with pytest.raises(ApiError) as wrong:
            await player.log_in(email, PASSWORD)
        assert wrong.value.code == "invalid_credentials"
        await player.log_in(email, password)
        assert not await player.has_second_factor()
        secret = await player.enrol_second_factor()
        with pytest.raises(ApiError) as mistyped:
            await player.verify_second_factor(f"{(int(totp(secret)) + 1) % 10**6:06}")
        assert (mistyped.value.status, mistyped.value.code) == (400, "invalid_code")
        await player.verify_second_factor(totp(secret))
        assert await player.has_second_factor()
        with pytest.raises(ApiError) as challenged:
            await player.log_in(email, password)
        assert challenged.value.code == "second_factor_required"
        await player.log_in(email, password, code=lambda: totp(secret))
        await player.refresh()
        assert (await player.profile())["display_name"] == "Ada"
        with pytest.raises(ApiError) as guessed:
            await player.remove_second_factor(PASSWORD, totp(secret))
        assert (guessed.value.status, guessed.value.code) == (400, "wrong_password")
        # The user pool accepts each code once, and also the code of the next step.
        await player.remove_second_factor(password, totp(secret, time.time() + 30))
        assert not await player.has_second_factor()
        await player.log_in(email, password)
        token = player.access_token
        await player.log_out(everywhere=True)
        assert player.access_token == ""
        player.use_token(token)
        # The API checks only the signature and the expiry of an access token.
        assert (await player.profile())["display_name"] == "Ada"


async def test_a_client_that_has_logged_out_cannot_refresh(api: Any) -> None:
    async with GameClient(api.url) as player:
        await player.sign_up("gone@example.com", PASSWORD, "Ada")
        await player.log_in("gone@example.com", PASSWORD)
        refresh_token = player._refresh_token
        await player.log_out()
        player._refresh_token = refresh_token
        with pytest.raises(ApiError) as refused:
            await player.refresh()
        assert (refused.value.status, refused.value.code) == (401, "invalid_refresh_token")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/second-factor"),
        ("POST", "/v1/second-factor"),
        ("POST", "/v1/second-factor/verify"),
        ("POST", "/v1/second-factor/remove"),
        ("POST", "/v1/logout/everywhere"),
    ],
)
async def test_the_settings_of_an_account_need_a_token(client: Client, method: str, path: str) -> None:
    assert (await client.call(method, path, {"code": "1"}))[0] == 401
