from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa

from gameserver.runtime.auth import INTERNAL_GROUP, InvalidToken, KeysUnavailable, TokenVerifier, is_internal

ISSUER = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_test"
PLAYER = "0d8f1f9e-1111-4222-8333-444455556666"


class UserPool:
    """Signs tokens, and serves the public keys for their verification on `url`."""

    def __init__(self) -> None:
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.requests = 0
        self.down = False
        self.add_key("first")
        pool = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pool.requests += 1
                self.send_response(503 if pool.down else 200)
                self.end_headers()
                self.wfile.write(pool.document())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    def add_key(self, key_id: str) -> None:
        self.keys[key_id] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def document(self) -> bytes:
        keys = [
            {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": key_id, "alg": "RS256"}
            for key_id, key in self.keys.items()
        ]
        return json.dumps({"keys": keys}).encode()

    def token(self, *, key_id: str = "first", algorithm: str = "RS256", key: Any = None, **claims: Any) -> str:
        values = {
            "sub": PLAYER,
            "iss": ISSUER,
            "client_id": "client",
            "token_use": "access",
            "exp": time.time() + 600,
            "username": "ada@example.com",
            **claims,
        }
        payload = {name: value for name, value in values.items() if value is not None}
        return jwt.encode(payload, key or self.keys[key_id], algorithm=algorithm, headers={"kid": key_id})


@pytest.fixture
def pool() -> Iterator[UserPool]:
    pool = UserPool()
    thread = threading.Thread(target=pool.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield pool
    pool.server.shutdown()
    thread.join()
    pool.server.server_close()


@pytest.fixture
def verifier(pool: UserPool) -> TokenVerifier:
    return TokenVerifier(ISSUER, "client", pool.url)


async def test_a_valid_token_names_its_player(pool: UserPool, verifier: TokenVerifier) -> None:
    expires_at = int(time.time()) + 600
    player = await verifier.verify(pool.token(exp=expires_at))
    assert (player.id, player.name, player.expires_at) == (PLAYER, "player-0d8f1f", expires_at)


@pytest.mark.parametrize(
    ("claims", "internal"),
    [
        ({"cognito:groups": ["players", "internal"]}, True),
        ({"cognito:groups": ["internals"]}, False),
        ({"cognito:groups": []}, False),
        ({"cognito:groups": {"internal": True}}, False),
        # A client could set the claims `internal` and `custom:internal`, if the user pool had attributes with these
        # names.
        ({"internal": True, "custom:internal": "true", "groups": ["internal"]}, False),
        ({}, False),
    ],
)
async def test_only_the_pools_group_makes_an_account_internal(
    pool: UserPool, verifier: TokenVerifier, claims: dict[str, Any], internal: bool
) -> None:
    assert (await verifier.verify(pool.token(**claims))).internal is internal


@pytest.mark.parametrize(
    ("claim", "internal"),
    [("[internal]", True), ("[players internal]", True), ("[players, internal]", True), ("[]", False), ("", False)],
)
def test_groups_are_read_as_api_gateway_passes_them_on(claim: str, internal: bool) -> None:
    assert is_internal(claim) is internal


def test_the_data_plane_defines_the_internal_group() -> None:
    definition = Path(__file__).parents[4] / "terraform" / "modules" / "data_plane" / "data-plane.yaml"
    assert yaml.safe_load(definition.read_text())["identity"]["internal_group"] == INTERNAL_GROUP


async def test_keys_are_fetched_once(pool: UserPool, verifier: TokenVerifier) -> None:
    for _ in range(3):
        await verifier.verify(pool.token())
    assert pool.requests == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": time.time() - 60},
        {"exp": None},
        {"sub": None},
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"client_id": "other"},
        {"client_id": None},
        {"token_use": "id"},
        # The time is a day later, because pytest evaluates parameters when it collects the tests, which may be long
        # before the test runs.
        {"nbf": time.time() + 86_400},
    ],
)
async def test_wrong_claims_are_refused(pool: UserPool, verifier: TokenVerifier, claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        await verifier.verify(pool.token(**claims))


async def test_forged_tokens_are_refused(pool: UserPool, verifier: TokenVerifier) -> None:
    public = pool.keys["first"].public_key()
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    head, payload, signature = pool.token().split(".")
    none_head = base64.urlsafe_b64encode(b'{"alg":"none","kid":"first"}').decode().rstrip("=")
    deep_head = base64.urlsafe_b64encode(b"[" * 3000).decode()
    other_payload = pool.token(sub="someone-else").split(".")[1]
    modulus = str(public.public_numbers().n).encode()
    forged = [
        pool.token(key=stranger),
        pool.token(key=modulus, algorithm="HS256"),
        f"{none_head}.{payload}.",
        f"{deep_head}.{payload}.{signature}",
        f"{head}.{other_payload}.{signature}",
        f"{head}.{payload}.",
        "",
        "a.b.c",
        "x" * 10_000,
    ]
    for token in forged:
        with pytest.raises(InvalidToken):
            await verifier.verify(token)


async def test_a_rotated_key_is_fetched_but_invented_keys_cause_no_fetches(
    pool: UserPool, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    await verifier.verify(pool.token())
    pool.add_key("second")
    for _ in range(3):
        with pytest.raises(InvalidToken):
            await verifier.verify(pool.token(key_id="second"))
    assert pool.requests == 1
    verifier._fetch_again_at = 0.0
    await verifier.verify(pool.token(key_id="second"))
    assert pool.requests == 2


async def test_known_keys_verify_tokens_while_the_pool_is_down(pool: UserPool, verifier: TokenVerifier) -> None:
    await verifier.verify(pool.token())
    pool.down = True
    pool.add_key("second")
    verifier._fetch_again_at = 0.0
    with pytest.raises(KeysUnavailable):
        await verifier.verify(pool.token(key_id="second"))
    await verifier.verify(pool.token())


async def test_a_pool_that_starts_late_is_fetched_again(pool: UserPool, verifier: TokenVerifier) -> None:
    pool.down = True
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            await verifier.verify(pool.token())
    assert pool.requests == 1
    pool.down = False
    verifier._fetch_again_at = 0.0
    assert (await verifier.verify(pool.token())).id == PLAYER


def test_only_http_addresses_are_accepted() -> None:
    with pytest.raises(ValueError, match="http"):
        TokenVerifier(ISSUER, "client", "file:///etc/passwd")
