"""Tests accounts, log-ins and second factors with a user pool that is as strict as AWS, and with the players' mail."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from botocore.exceptions import ClientError

from gameserver.client.totp import totp
from gameserver.functions import accounts, auth, second_factor, sessions
from gameserver.functions.http import HttpError, Request, Response
from gameserver.functions.password_policy import PasswordPolicy
from gameserver.functions.services import Services
from gameserver.runtime.settings import Settings
from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.outbox import SentMessage, read_messages

pytestmark = pytest.mark.timeout(120)

REGION = "us-east-1"
# The settings of the user pool in terraform/modules/identity. `CLOSED` keeps strangers from going round the API.
CLOSED: Any = {
    "AccountRecoverySetting": {"RecoveryMechanisms": [{"Name": "admin_only", "Priority": 1}]},
    "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": True},
}
_POLICY = {"MinimumLength": 12, "RequireLowercase": True, "RequireUppercase": True, "RequireNumbers": True}
OTHER: Any = {
    "AutoVerifiedAttributes": ["email"],
    "MfaConfiguration": "OPTIONAL",
    "Policies": {"PasswordPolicy": {**_POLICY, "RequireSymbols": False}},
}
_DATA_PLANE = Path(__file__).parents[4] / "terraform" / "modules" / "data_plane" / "data-plane.yaml"
OPERATIONS: list[str] = yaml.safe_load(_DATA_PLANE.read_text())["identity"]["token_operations"]
VISIBLE: Any = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "players"}
RULE: Any = {
    "Name": "token-operations",
    "Priority": 0,
    "Action": {"Allow": {}},
    "Statement": {
        "RegexMatchStatement": {
            "FieldToMatch": {"SingleHeader": {"Name": "x-amzn-cognito-operation-name"}},
            "RegexString": f"^({'|'.join(OPERATIONS)})$",
            "TextTransformations": [{"Priority": 0, "Type": "NONE"}],
        }
    },
    "VisibilityConfig": VISIBLE,
}
SENDER = "no-reply@arena.example.com"
PASSWORD, NEW_PASSWORD = "correct Horse 7 battery", "another Horse 8 battery"
Function = Callable[[Request, Services], Awaitable[Response]]


@dataclass
class Game:
    """Calls the functions as API Gateway does, and reads the mail of the players."""

    services: Services
    outbox: Path
    remove_firewall: Callable[[], None]

    async def ask(self, function: Function, token: str = "", **body: str) -> tuple[int, Any]:
        """Return the status and the body of the answer, or the status and the code of the error."""
        player = str(jwt.decode(token, options={"verify_signature": False})["sub"]) if token else ""
        request = Request(
            json.dumps(body).encode(),
            player_id=player,
            source="192.0.2.1",
            access_token=token,
            user_agent="arena/1",
        )
        try:
            response = await function(request, self.services)
        except HttpError as error:
            return error.status, error.code
        return response.status, response.body

    async def full_answer(self, function: Function, **body: str) -> tuple[int, Any]:
        try:
            response = await function(Request(json.dumps(body).encode(), source="192.0.2.1"), self.services)
        except HttpError as error:
            return error.status, error.body()
        return response.status, response.body

    def code(self, email: str) -> str:
        """Return the code in the last mail to `email`."""
        message = self.mails(email)[-1]
        assert message.sender == SENDER
        return re.search(r"\b\d{4} \d{4} \d{4}\b", message.text)[0]  # type: ignore[index]

    def mails(self, email: str) -> list[SentMessage]:
        return read_messages(self.outbox, email)

    async def sign_up(self, email: str) -> tuple[int, Any]:
        return await self.ask(auth.sign_up, email=email, password=PASSWORD, display_name="Ada")

    async def log_in(self, email: str, password: str = PASSWORD) -> tuple[int, Any]:
        return await self.ask(sessions.log_in, email=email, password=password)

    async def player(self, email: str) -> dict[str, str]:
        """Sign a player up, confirm the address, and return the tokens of a log-in."""
        assert (await self.sign_up(email))[0] == 201
        assert await self.ask(auth.confirm, email=email, code=self.code(email)) == (200, {"confirmed": True})
        status, tokens = await self.log_in(email)
        assert status == 200
        return tokens  # type: ignore[no-any-return]


def other(code: str) -> str:
    digits = code.replace(" ", "")
    return f"{(int(digits) + 1) % 10 ** len(digits):0{len(digits)}}"


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Game]:
    folder = tmp_path_factory.mktemp("stage")
    with (
        Emulators(folder, names=["ministack", "moto"], stage=True) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in running.key.variables.items():
            patch.setenv(name, value)
        patch.setattr("boto3.DEFAULT_SESSION", None)
        cognito, dynamodb, kms, ses = (
            running.client(name, REGION) for name in ("cognito-idp", "dynamodb", "kms", "sesv2")
        )
        key = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["Arn"]
        ses.create_email_identity(EmailIdentity=SENDER.partition("@")[2])
        created = cognito.create_user_pool(
            PoolName="players",
            **CLOSED,
            **OTHER,
            UsernameAttributes=["email"],
        )["UserPool"]
        pool = created["Id"]
        # The web ACL of terraform/modules/firewall for a user pool.
        waf = running.client("wafv2", REGION)
        acl = waf.create_web_acl(
            Name="players", Scope="REGIONAL", DefaultAction={"Block": {}}, VisibilityConfig=VISIBLE, Rules=[RULE]
        )
        waf.associate_web_acl(WebACLArn=acl["Summary"]["ARN"], ResourceArn=created["Arn"])
        # The settings of the app client in terraform/modules/identity, without a grace period.
        client = cognito.create_user_pool_client(
            UserPoolId=pool,
            ClientName="game",
            ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH"],
            PreventUserExistenceErrors="ENABLED",
            RefreshTokenRotation={"Feature": "ENABLED", "RetryGracePeriodSeconds": 0},
        )["UserPoolClient"]["ClientId"]
        dynamodb.create_table(
            TableName="players",
            AttributeDefinitions=[{"AttributeName": "player_id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "player_id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        settings = Settings(
            "arena",
            "test",
            REGION,
            aws_endpoint_url=running.url("ministack"),
            user_pool_id=pool,
            client_id=client,
            code_key_arn=key,
            mail_sender=SENDER,
            tables={"matches": "matches", "players": "players", "processed_events": "processed_events"},
        )
        services = Services(settings)
        services.mail_answer_seconds = 0.0

        def remove_firewall() -> None:
            waf.disassociate_web_acl(ResourceArn=created["Arn"])
            # The stage reads the web ACL of a user pool every two seconds.
            time.sleep(2.1)

        yield Game(services, folder / "stage" / "mail.jsonl", remove_firewall)
        services.aws.close()


async def test_a_player_confirms_the_address_with_the_code_of_the_mail(game: Game) -> None:
    email = "confirm@example.com"
    status, answer = await game.sign_up(email)
    assert (status, answer["confirmed"]) == (201, False)
    assert await game.log_in(email) == (401, "invalid_credentials")
    first = game.code(email)
    assert await game.ask(auth.confirm, email=email, code=other(first)) == (400, "invalid_code")
    assert await game.ask(auth.resend_code, email=email) == (202, {})
    assert await game.ask(auth.confirm, email=email, code=game.code(email)) == (200, {"confirmed": True})
    assert await game.ask(auth.confirm, email=email, code=game.code(email)) == (400, "invalid_code")
    status, tokens = await game.log_in(email)
    assert status == 200
    assert tokens.keys() == {"access_token", "id_token", "refresh_token", "expires_in", "token_type"}


async def test_answers_do_not_show_which_addresses_have_an_account(game: Game) -> None:
    known, unconfirmed, unknown = "known@example.com", "unconfirmed@example.com", "nobody@example.com"
    await game.player(known)
    await game.sign_up(unconfirmed)
    calls: list[tuple[Function, dict[str, str]]] = [
        (sessions.log_in, {"password": "wrong Horse 7 battery"}),
        (auth.confirm, {"code": "1"}),
        (auth.resend_code, {}),
        (auth.forgot_password, {}),
        (auth.reset_password, {"code": "1", "password": NEW_PASSWORD}),
        (auth.reset_password, {"code": "1", "password": "short"}),
    ]
    for function, body in calls:
        answers = [await game.full_answer(function, email=email, **body) for email in (known, unconfirmed, unknown)]
        assert answers[0] == answers[1] == answers[2], function
    again, new = await game.sign_up(known), await game.sign_up("new@example.com")
    assert (again[0], again[1].keys(), again[1]["confirmed"]) == (new[0], new[1].keys(), new[1]["confirmed"])
    weak = {"password": "short", "display_name": "Ada"}
    answers = [await game.full_answer(auth.sign_up, email=email, **weak) for email in (known, "newer@example.com")]
    assert answers[0] == answers[1]
    assert answers[0][1]["error"]["code"] == "weak_password"


async def test_a_forgotten_password_is_reset_with_the_code_of_the_mail(game: Game) -> None:
    email = "forgot@example.com"
    await game.player(email)
    assert await game.ask(auth.forgot_password, email=email) == (202, {})
    code = game.code(email)
    reset = {"email": email, "password": NEW_PASSWORD}
    assert await game.ask(auth.reset_password, **reset, code=other(code)) == (400, "reset_refused")
    weak = {"email": email, "password": "short", "code": code}
    assert await game.ask(auth.reset_password, **weak) == (400, "reset_refused")
    assert await game.ask(auth.reset_password, **reset, code=f" {code} ") == (200, {})
    assert await game.ask(auth.reset_password, **reset, code=code) == (400, "reset_refused")
    assert await game.log_in(email) == (401, "invalid_credentials")
    assert (await game.log_in(email, NEW_PASSWORD))[0] == 200


async def test_a_reset_ends_all_log_ins(game: Game) -> None:
    email = "ended@example.com"
    tokens = await game.player(email)
    await game.ask(auth.forgot_password, email=email)
    reset = {"email": email, "password": NEW_PASSWORD, "code": game.code(email)}
    assert await game.ask(auth.reset_password, **reset) == (200, {})
    refused = await game.ask(sessions.refresh, refresh_token=tokens["refresh_token"])
    assert refused == (401, "invalid_refresh_token")


async def test_a_code_works_only_for_its_purpose_and_account(game: Game) -> None:
    await game.sign_up("mine@example.com")
    await game.player("yours@example.com")
    mine = game.code("mine@example.com")
    await game.sign_up("theirs@example.com")
    assert await game.ask(auth.confirm, email="theirs@example.com", code=mine) == (400, "invalid_code")
    reset = {"email": "yours@example.com", "password": NEW_PASSWORD, "code": game.code("yours@example.com")}
    assert await game.ask(auth.reset_password, **reset) == (400, "reset_refused")


async def test_a_stranger_cannot_fill_a_mailbox_and_does_not_lock_the_player_out(game: Game) -> None:
    email = "mailbox@example.com"
    await game.sign_up(email)
    body = json.dumps({"email": email}).encode()
    for number in range(12):
        await auth.resend_code(Request(body, source=f"198.51.100.{number}"), game.services)
    assert len(game.mails(email)) == 6
    assert await game.ask(auth.resend_code, email=email) == (202, {})
    assert await game.ask(auth.confirm, email=email, code=game.code(email)) == (200, {"confirmed": True})


async def test_a_sign_up_completes_an_account_that_an_earlier_sign_up_left_without_a_password(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    email, cognito = "half@example.com", game.services.aws.cognito
    created: Any = cognito.admin_create_user(
        UserPoolId=game.services.settings.user_pool_id,
        Username=email,
        MessageAction="SUPPRESS",
        UserAttributes=[{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "false"}],
    )
    # While the first sign-up may still run, a second sign-up changes nothing.
    assert (await game.sign_up(email))[0] == 201
    assert game.mails(email) == []
    monkeypatch.setattr(accounts, "_COMPLETION_SECONDS", -1.0)
    status, answer = await game.sign_up(email)
    assert (status, answer["player_id"]) == (201, created["User"]["Username"])
    assert await game.ask(auth.confirm, email=email, code=game.code(email)) == (200, {"confirmed": True})
    assert (await game.log_in(email))[0] == 200


async def test_a_sign_up_does_not_take_an_account_without_a_password_that_an_operator_has_made(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = "operator@example.com"
    game.services.aws.cognito.admin_create_user(
        UserPoolId=game.services.settings.user_pool_id,
        Username=email,
        MessageAction="SUPPRESS",
        UserAttributes=[{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}],
    )
    monkeypatch.setattr(accounts, "_COMPLETION_SECONDS", -1.0)
    assert (await game.sign_up(email))[0] == 201
    assert await game.log_in(email) == (401, "invalid_credentials")


async def test_a_password_that_only_cognito_refuses_leaves_no_account(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(game.services, "password_policy", PasswordPolicy(1, {}))
    body = {"email": "weak@example.com", "password": "short", "display_name": "Ada"}
    assert await game.ask(auth.sign_up, **body) == (400, "weak_password")
    assert await accounts.find_account(game.services, "weak@example.com") is None


async def test_a_mail_that_ses_refuses_does_not_change_the_answer(game: Game) -> None:
    ses = game.services.aws.mail
    details = {"MailType": "TRANSACTIONAL", "WebsiteURL": "https://arena.example.com"}
    ses.put_account_details(**details, ProductionAccessEnabled=False)
    try:
        status, answer = await game.sign_up("sandboxed@example.com")
        assert (status, answer["confirmed"]) == (201, False)
        assert await game.ask(auth.resend_code, email="sandboxed@example.com") == (202, {})
        assert game.mails("sandboxed@example.com") == []
    finally:
        ses.put_account_details(**details, ProductionAccessEnabled=True)
    assert await game.ask(auth.resend_code, email="sandboxed@example.com") == (202, {})
    code = game.code("sandboxed@example.com")
    assert await game.ask(auth.confirm, email="sandboxed@example.com", code=code) == (200, {"confirmed": True})


async def test_an_answer_takes_an_equal_time_for_every_address(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game.services, "mail_answer_seconds", 0.5)
    await game.sign_up("slow@example.com")
    for function in (auth.resend_code, auth.forgot_password):
        for email in ("slow@example.com", "nobody-slow@example.com"):
            begun = time.monotonic()
            await game.ask(function, email=email)
            assert time.monotonic() - begun >= 0.5


async def test_a_refresh_replaces_the_refresh_token(game: Game) -> None:
    tokens = await game.player("rotation@example.com")
    status, fresh = await game.ask(sessions.refresh, refresh_token=tokens["refresh_token"])
    assert (status, fresh.keys()) == (200, tokens.keys())
    assert fresh["refresh_token"] != tokens["refresh_token"]
    assert await game.ask(sessions.refresh, refresh_token=tokens["refresh_token"]) == (401, "invalid_refresh_token")
    assert (await game.ask(sessions.refresh, refresh_token=fresh["refresh_token"]))[0] == 200


async def test_a_log_out_revokes_the_tokens_of_its_log_in_only(game: Game) -> None:
    email = "logout@example.com"
    phone = await game.player(email)
    desktop = (await game.log_in(email))[1]
    _, renewed = await game.ask(sessions.refresh, refresh_token=phone["refresh_token"])
    assert await game.ask(sessions.log_out, refresh_token=renewed["refresh_token"]) == (200, {})
    assert await game.ask(sessions.log_out, refresh_token=renewed["refresh_token"]) == (200, {})
    assert await game.ask(sessions.log_out, refresh_token="nonsense") == (200, {})
    assert await game.ask(sessions.refresh, refresh_token=renewed["refresh_token"]) == (401, "invalid_refresh_token")
    assert await game.ask(second_factor.get_state, renewed["access_token"]) == (401, "unauthorized")
    assert (await game.ask(sessions.refresh, refresh_token=desktop["refresh_token"]))[0] == 200


async def test_a_log_out_everywhere_revokes_all_tokens(game: Game) -> None:
    email = "everywhere@example.com"
    phone = await game.player(email)
    desktop = (await game.log_in(email))[1]
    assert await game.ask(sessions.log_out_everywhere, desktop["access_token"]) == (200, {})
    for tokens in (phone, desktop):
        refused = await game.ask(sessions.refresh, refresh_token=tokens["refresh_token"])
        assert refused == (401, "invalid_refresh_token")
    assert await game.ask(sessions.log_out_everywhere, desktop["access_token"]) == (401, "unauthorized")


async def test_a_second_factor_is_enrolled_and_asked_for(game: Game) -> None:
    email = "factor@example.com"
    token = (await game.player(email))["access_token"]
    assert await game.ask(second_factor.get_state, token) == (200, {"enabled": False})
    assert await game.ask(second_factor.verify, token, code="123456") == (400, "invalid_code")
    status, enrolment = await game.ask(second_factor.enrol, token)
    secret = enrolment["secret"]
    assert (status, enrolment["uri"]) == (
        200,
        f"otpauth://totp/arena%3Afactor%40example.com?secret={secret}&issuer=arena",
    )
    assert await game.ask(second_factor.verify, token, code=other(totp(secret))) == (400, "invalid_code")
    assert (await game.log_in(email))[1].keys() >= {"access_token"}
    assert await game.ask(second_factor.verify, token, code=totp(secret)) == (200, {"enabled": True})
    assert await game.ask(second_factor.get_state, token) == (200, {"enabled": True})

    status, challenge = await game.log_in(email)
    assert (status, challenge.keys()) == (200, {"challenge", "user_id", "session"})
    answer = {name: challenge[name] for name in ("user_id", "session")}
    now = time.time()
    code = totp(secret, now)
    step = sessions.answer_second_factor
    assert await game.ask(step, **answer, code=other(code)) == (400, "invalid_code")
    assert await game.ask(step, **{**answer, "session": "s" * 40}, code=code) == (401, "login_expired")
    status, tokens = await game.ask(step, **answer, code=f" {code} ")
    assert (status, "refresh_token" in tokens) == (200, True)
    assert await game.ask(step, **answer, code=code) == (401, "login_expired")

    again = (await game.log_in(email))[1]
    replayed = {name: again[name] for name in ("user_id", "session")}
    assert await game.ask(step, **replayed, code=code) == (400, "invalid_code")
    # A wrong password does not show that the account has a second factor.
    assert await game.log_in(email, "wrong Horse 7 battery") == (401, "invalid_credentials")


async def test_a_second_factor_is_removed_with_the_password_and_an_unused_code(game: Game) -> None:
    email = "remove@example.com"
    token = (await game.player(email))["access_token"]
    secret = (await game.ask(second_factor.enrol, token))[1]["secret"]
    now = time.time()
    assert await game.ask(second_factor.verify, token, code=totp(secret, now - 30)) == (200, {"enabled": True})
    challenge = (await game.log_in(email))[1]
    answer = {name: challenge[name] for name in ("user_id", "session")}
    used, unused = totp(secret, now), totp(secret, now + 30)
    assert (await game.ask(sessions.answer_second_factor, **answer, code=used))[0] == 200

    remove, right = second_factor.remove, {"password": PASSWORD}
    wrong_password = {"password": "wrong Horse 7 battery", "code": unused}
    assert await game.ask(remove, token, **wrong_password) == (400, "wrong_password")
    assert await game.ask(remove, token, **right, code=used) == (400, "invalid_code")
    assert await game.ask(remove, token, **right, code=other(unused)) == (400, "invalid_code")
    assert await game.ask(second_factor.get_state, token) == (200, {"enabled": True})
    assert await game.ask(remove, token, **right, code=f" {unused} ") == (200, {"enabled": False})
    assert await game.ask(second_factor.get_state, token) == (200, {"enabled": False})
    assert "access_token" in (await game.log_in(email))[1]
    # A repeated request is no error.
    assert await game.ask(remove, token, **right, code="123456") == (200, {"enabled": False})


async def test_a_revoked_access_token_cannot_test_passwords(game: Game) -> None:
    token = (await game.player("revoked@example.com"))["access_token"]
    await game.ask(sessions.log_out_everywhere, token)
    for password in (PASSWORD, "wrong Horse 7 battery"):
        answer = await game.ask(second_factor.remove, token, password=password, code="123456")
        assert answer == (401, "unauthorized")


async def test_the_codes_of_one_log_in_are_limited(game: Game) -> None:
    body = {"user_id": "someone", "session": "t" * 40, "code": "123456"}
    answers = [await game.ask(sessions.answer_second_factor, **body) for _ in range(6)]
    assert answers == [(401, "login_expired")] * 5 + [(429, "too_many_requests")]


async def test_a_stranger_cannot_use_up_the_tries_of_a_player(game: Game) -> None:
    email = "victim@example.com"
    await game.player(email)
    guess = json.dumps({"email": email, "password": "wrong Horse 7 battery"}).encode()
    refused = 0
    for _ in range(15):
        try:
            await sessions.log_in(Request(guess, source="203.0.113.9"), game.services)
        except HttpError as error:
            refused += error.status == 429
    assert refused >= 4
    # Cognito locks an account for some seconds after many wrong passwords.
    # https://docs.aws.amazon.com/cognito/latest/developerguide/authentication.html
    for _ in range(8):
        await asyncio.sleep(1.1)
        status, _ = await game.log_in(email)
        if status == 200:
            break
    assert status == 200


async def test_the_thief_of_an_access_token_cannot_change_the_account_past_the_api(game: Game) -> None:
    email = "stolen@example.com"
    token = (await game.player(email))["access_token"]
    secret = (await game.ask(second_factor.enrol, token))[1]["secret"]
    assert await game.ask(second_factor.verify, token, code=totp(secret)) == (200, {"enabled": True})
    cognito = game.services.aws.cognito
    off: Any = {"Enabled": False, "PreferredMfa": False}
    client = {"ClientId": game.services.settings.client_id}
    password = {"USERNAME": email, "PASSWORD": PASSWORD}
    calls: list[Callable[[], Any]] = [
        lambda: cognito.set_user_mfa_preference(AccessToken=token, SoftwareTokenMfaSettings=off),
        lambda: cognito.change_password(AccessToken=token, PreviousPassword=PASSWORD, ProposedPassword=NEW_PASSWORD),
        lambda: cognito.update_user_attributes(AccessToken=token, UserAttributes=[{"Name": "locale", "Value": "en"}]),
        lambda: cognito.delete_user(AccessToken=token),
        lambda: cognito.sign_up(**client, Username="direct@example.com", Password=PASSWORD),
        lambda: cognito.forgot_password(**client, Username=email),
        lambda: cognito.initiate_auth(**client, AuthFlow="USER_PASSWORD_AUTH", AuthParameters=password),
    ]
    for call in calls:
        with pytest.raises(ClientError, match="ForbiddenException"):
            call()
    assert await game.ask(second_factor.get_state, token) == (200, {"enabled": True})
    assert (await game.log_in(email))[1]["challenge"] == "second_factor"


# The next tests are the last tests, because they remove the firewall of the user pool.
async def test_players_cannot_go_round_the_api_without_a_firewall(game: Game) -> None:
    game.remove_firewall()
    await game.player("round@example.com")
    await game.sign_up("pending@example.com")
    cognito, settings = game.services.aws.cognito, game.services.settings
    client = {"ClientId": settings.client_id}
    with pytest.raises(ClientError, match="SignUp is not permitted for this user pool"):
        cognito.sign_up(**client, Username="direct@example.com", Password=PASSWORD)
    for email in ("round@example.com", "pending@example.com", "direct@example.com"):
        with pytest.raises(ClientError, match="Contact administrator to reset password"):
            cognito.forgot_password(**client, Username=email)
        for name, parameters in (
            ("confirm_sign_up", {"ConfirmationCode": "123456"}),
            ("confirm_forgot_password", {"ConfirmationCode": "123456", "Password": NEW_PASSWORD}),
        ):
            with pytest.raises(ClientError, match=r"CodeMismatch|ExpiredCode|NotAuthorized"):
                getattr(cognito, name)(**client, Username=email, **parameters)
    mails = len(game.mails("pending@example.com"))
    with pytest.raises(ClientError, match="already confirmed"):
        cognito.resend_confirmation_code(**client, Username="pending@example.com")
    assert len(game.mails("pending@example.com")) == mails
    with pytest.raises(ClientError, match="USER_PASSWORD_AUTH flow not enabled"):
        cognito.initiate_auth(
            ClientId=settings.client_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": "round@example.com", "PASSWORD": PASSWORD},
        )


async def test_an_account_of_a_public_sign_up_keeps_working(game: Game) -> None:
    """Test accounts that Cognito's SignUp made before the user pool and its firewall refused SignUp."""
    game.remove_firewall()
    cognito, settings = game.services.aws.cognito, game.services.settings
    pool = settings.user_pool_id
    cognito.update_user_pool(UserPoolId=pool, AdminCreateUserConfig={"AllowAdminCreateUserOnly": False}, **OTHER)
    for email in ("old@example.com", "older@example.com"):
        attributes = [{"Name": "email", "Value": email}]
        cognito.sign_up(ClientId=settings.client_id, Username=email, Password=PASSWORD, UserAttributes=attributes)
    code = re.search(r"\b\d{6}\b", game.mails("older@example.com")[-1].text)[0]  # type: ignore[index]
    cognito.confirm_sign_up(ClientId=settings.client_id, Username="older@example.com", ConfirmationCode=code)
    cognito.update_user_pool(UserPoolId=pool, **CLOSED, **OTHER)
    assert (await game.log_in("older@example.com"))[0] == 200
    assert await game.log_in("old@example.com") == (401, "invalid_credentials")
    assert await game.ask(auth.resend_code, email="old@example.com") == (202, {})
    code = game.code("old@example.com")
    assert await game.ask(auth.confirm, email="old@example.com", code=code) == (200, {"confirmed": True})
    assert (await game.log_in("old@example.com"))[0] == 200
