"""Tests the corrections of ministack's Cognito and SES, and that ministack still needs each correction.

A probe returns True if the emulator behaves as AWS does. The probe must return False for ministack without corrections.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gameserver.client.totp import totp
from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl.sandbox.probes import Probes, error_code
from tests.integration.mjctl.sandbox.released import corrections_of

pytestmark = pytest.mark.timeout(120)

REGION = "us-east-1"
PASSWORD = "Not-a-secret-1"
ROTATION = {"Feature": "ENABLED", "RetryGracePeriodSeconds": 1}


class Pool:
    """Logs in one player, whom an operator has created."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self.client_of = client
        self.cognito = cognito = client("cognito-idp")
        self.id = cognito.create_user_pool(PoolName="p", MfaConfiguration="OPTIONAL")["UserPool"]["Id"]
        created = cognito.create_user_pool_client(
            UserPoolId=self.id,
            ClientName="c",
            ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH"],
            RefreshTokenRotation=ROTATION,
        )
        self.client = created["UserPoolClient"]["ClientId"]
        cognito.admin_create_user(UserPoolId=self.id, Username="ada", MessageAction="SUPPRESS")
        cognito.admin_set_user_password(UserPoolId=self.id, Username="ada", Password=PASSWORD, Permanent=True)

    def log_in(self) -> dict[str, Any]:
        parameters = {"USERNAME": "ada", "PASSWORD": PASSWORD}
        answer: dict[str, Any] = self.cognito.admin_initiate_auth(
            UserPoolId=self.id,
            ClientId=self.client,
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters=parameters,
        )
        return answer

    def answer(self, session: str, code: str) -> str:
        """Answer the challenge of a second factor. Returns: the code of the error, or an empty text."""
        return error_code(
            lambda: self.cognito.admin_respond_to_auth_challenge(
                UserPoolId=self.id,
                ClientId=self.client,
                ChallengeName="SOFTWARE_TOKEN_MFA",
                ChallengeResponses={"USERNAME": "ada", "SOFTWARE_TOKEN_MFA_CODE": code},
                Session=session,
            )
        )


probe = Probes[Pool]()


@probe("cognito-refresh-rotation")
def _rotation(pool: Pool) -> bool:
    described = pool.cognito.describe_user_pool_client(UserPoolId=pool.id, ClientId=pool.client)["UserPoolClient"]
    if described.get("RefreshTokenRotation") != ROTATION:
        return False

    def refresh(token: str) -> str:
        answer = pool.cognito.get_tokens_from_refresh_token(ClientId=pool.client, RefreshToken=token)
        return str(answer["AuthenticationResult"].get("RefreshToken"))

    first = pool.log_in()["AuthenticationResult"]["RefreshToken"]
    second = refresh(first)
    in_time = refresh(first)
    time.sleep(1.1)
    late = error_code(lambda: refresh(first))
    third = refresh(second)
    pool.cognito.update_user_pool_client(UserPoolId=pool.id, ClientId=pool.client)
    described = pool.cognito.describe_user_pool_client(UserPoolId=pool.id, ClientId=pool.client)["UserPoolClient"]
    return (
        "None" not in (second, in_time, third)
        and len({first, second, third}) == 3
        and late == "RefreshTokenReuseException"
        and "RefreshTokenRotation" not in described
    )


@probe("cognito-second-factor")
def _second_factor(pool: Pool) -> bool:
    token = pool.log_in()["AuthenticationResult"]["AccessToken"]
    secret = pool.cognito.associate_software_token(AccessToken=token)["SecretCode"]
    wrong = error_code(lambda: pool.cognito.verify_software_token(AccessToken=token, UserCode="000000"))
    pool.cognito.verify_software_token(AccessToken=token, UserCode=totp(secret))
    preference = {"Enabled": True, "PreferredMfa": True}
    pool.cognito.set_user_mfa_preference(AccessToken=token, SoftwareTokenMfaSettings=preference)
    challenge = pool.log_in()
    without_log_in = pool.answer("s" * 40, totp(secret))
    wrong_code = pool.answer(challenge["Session"], "000000")
    now = time.time()
    right = pool.answer(challenge["Session"], totp(secret, now))
    again = pool.answer(pool.log_in()["Session"], totp(secret, now))
    return (wrong, challenge["ChallengeName"], without_log_in, wrong_code, right, again) == (
        "EnableSoftwareTokenMFAException",
        "SOFTWARE_TOKEN_MFA",
        "NotAuthorizedException",
        "CodeMismatchException",
        "",
        "ExpiredCodeException",
    )


@probe("ses-identities")
def _identities(pool: Pool) -> bool:
    pool.client_of("sesv2").create_email_identity(EmailIdentity="arena.example.com")
    answer = pool.client_of("ses").get_identity_verification_attributes(Identities=["arena.example.com"])
    status = answer["VerificationAttributes"]["arena.example.com"]["VerificationStatus"]
    return bool(status == "Success")


@pytest.fixture(scope="module", params=[True, False], ids=["corrected", "as released"])
def emulators(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bool, Emulators]]:
    with Emulators(tmp_path_factory.mktemp("cognito"), names=["ministack"], corrected=request.param) as running:
        yield request.param, running


@pytest.mark.parametrize("name", sorted(probe))
def test_a_correction_is_needed_and_works(name: str, emulators: tuple[bool, Emulators]) -> None:
    corrected, running = emulators
    probe.check(name, Pool(lambda service: running.client(service, REGION)), corrected=corrected)


def test_every_correction_has_a_probe() -> None:
    assert corrections_of("mjctl.sandbox.ministack_cognito") == set(probe)
