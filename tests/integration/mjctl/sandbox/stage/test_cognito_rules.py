"""Tests that the emulated Cognito is as strict as AWS documents, and that ministack still needs each correction.

Each probe returns True if the stage behaves like AWS. For ministack without corrections, the probe
must return False.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.outbox import read_messages
from tests.integration.mjctl.sandbox.probes import Probes, error_code
from tests.integration.mjctl.sandbox.released import corrections_of

pytestmark = pytest.mark.timeout(120)

REGION = "us-east-1"
PASSWORD, NEW_PASSWORD = "Not-a-secret-1", "Not-a-secret-2"


class Pool:
    """Signs up players in a new user pool, and reads their mail."""

    def __init__(self, running: Emulators, folder: Any, name: str) -> None:
        self.cognito = running.client("cognito-idp", REGION)
        self.outbox = folder / "stage" / "mail.jsonl"
        created = self.cognito.create_user_pool(
            AutoVerifiedAttributes=["email"], PoolName=name, UsernameAttributes=["email"]
        )
        self.id = created["UserPool"]["Id"]
        self.client = self.cognito.create_user_pool_client(
            AccessTokenValidity=7,
            ClientName="game",
            ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
            PreventUserExistenceErrors="ENABLED",
            TokenValidityUnits={"AccessToken": "minutes"},
            UserPoolId=self.id,
        )["UserPoolClient"]["ClientId"]

    def sign_up(self, address: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.cognito.sign_up(ClientId=self.client, Username=address, Password=PASSWORD)
        return answer

    def code(self, address: str) -> str:
        """Return the code in the last mail to `address`."""
        message = read_messages(self.outbox, address)[-1]
        return re.search(r"\b\d{6}\b", message.text)[0]  # type: ignore[index]

    def confirm(self, address: str, code: str | None = None) -> str:
        code = self.code(address) if code is None else code
        return error_code(
            lambda: self.cognito.confirm_sign_up(ClientId=self.client, Username=address, ConfirmationCode=code)
        )

    def log_in(self, address: str, password: str = PASSWORD) -> str:
        return error_code(lambda: self.tokens(address, password))

    def tokens(self, address: str, password: str = PASSWORD) -> dict[str, Any]:
        parameters = {"USERNAME": address, "PASSWORD": password}
        answer: dict[str, Any] = self.cognito.initiate_auth(
            AuthFlow="USER_PASSWORD_AUTH", AuthParameters=parameters, ClientId=self.client
        )["AuthenticationResult"]
        return answer

    def forgot(self, address: str) -> str:
        return error_code(lambda: self.cognito.forgot_password(ClientId=self.client, Username=address))

    def reset(self, address: str, code: str) -> str:
        return error_code(
            lambda: self.cognito.confirm_forgot_password(
                ClientId=self.client, ConfirmationCode=code, Password=NEW_PASSWORD, Username=address
            )
        )


def other(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


probe = Probes[Pool]()


@probe("cognito-random-codes")
def _random(pool: Pool) -> bool:
    codes = set()
    for address in ("a@example.com", "b@example.com"):
        delivery = pool.sign_up(address)["CodeDeliveryDetails"]
        codes.add(pool.code(address))
        pool.cognito.resend_confirmation_code(ClientId=pool.client, Username=address)
        codes.add(pool.code(address))
    return len(codes) > 1 and delivery["Destination"] == "b****@e****"


@probe("cognito-code-limits")
def _limits(pool: Pool) -> bool:
    pool.sign_up("a@example.com")
    code = pool.code("a@example.com")
    wrong = [pool.confirm("a@example.com", other(code)) for _ in range(5)]
    return set(wrong) == {"CodeMismatchException"} and pool.confirm("a@example.com", code) == "LimitExceededException"


@probe("cognito-recovery")
def _recovery(pool: Pool) -> bool:
    pool.sign_up("a@example.com")
    before = len(read_messages(pool.outbox))
    # Cognito sends no code to an unverified address. The answer does not show this fact, because the app client has the
    # setting `PreventUserExistenceErrors`.
    hidden = pool.forgot("a@example.com") == "" and len(read_messages(pool.outbox)) == before
    pool.confirm("a@example.com")
    user = pool.cognito.admin_get_user(UserPoolId=pool.id, Username="a@example.com")
    verified = {"Name": "email_verified", "Value": "true"} in user["UserAttributes"]
    resent = error_code(lambda: pool.cognito.resend_confirmation_code(ClientId=pool.client, Username="a@example.com"))
    pool.forgot("a@example.com")
    reset = pool.reset("a@example.com", pool.code("a@example.com"))
    return hidden and verified and resent == "InvalidParameterException" and reset == ""


@probe("cognito-closed-pool")
def _closed(pool: Pool) -> bool:
    pool.sign_up("a@example.com")
    pool.confirm("a@example.com")
    pool.cognito.update_user_pool(
        UserPoolId=pool.id,
        AccountRecoverySetting={"RecoveryMechanisms": [{"Name": "admin_only", "Priority": 1}]},
        AdminCreateUserConfig={"AllowAdminCreateUserOnly": True},
    )
    answers = {
        error_code(lambda: pool.sign_up("b@example.com")),
        pool.forgot("a@example.com"),
        pool.forgot("nobody@example.com"),
        error_code(lambda: pool.cognito.admin_reset_user_password(UserPoolId=pool.id, Username="a@example.com")),
    }
    return answers == {"NotAuthorizedException"} and pool.log_in("a@example.com") == ""


@probe("cognito-password-lock")
def _lock(pool: Pool) -> bool:
    pool.sign_up("a@example.com")
    pool.confirm("a@example.com")
    for _ in range(7):
        pool.log_in("a@example.com", "wrong")
        time.sleep(0.01)
    locked = pool.log_in("a@example.com")
    time.sleep(1.2)
    return locked == "NotAuthorizedException" and pool.log_in("a@example.com") == ""


@probe("cognito-mail-quota")
def _quota(pool: Pool) -> bool:
    answers = []
    for number in range(51):
        answers.append(error_code(lambda number=number: pool.sign_up(f"q{number}@example.com")))  # type: ignore[misc]
    return answers[-1] == "LimitExceededException" and answers[0] == ""


@pytest.fixture(scope="module", params=[True, False], ids=["corrected", "as released"])
def emulators(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bool, Callable[[str], Pool]]]:
    folder = tmp_path_factory.mktemp("stage")
    with Emulators(folder, names=["ministack"], stage=True, corrected=request.param) as running:
        yield request.param, lambda name: Pool(running, folder, name)


def test_a_player_signs_up_confirms_and_logs_in(emulators: tuple[bool, Callable[[str], Pool]]) -> None:
    pool = emulators[1]("flow")
    pool.sign_up("player@example.com")
    assert pool.log_in("player@example.com") == "UserNotConfirmedException"
    assert pool.confirm("player@example.com", other(pool.code("player@example.com"))) == "CodeMismatchException"
    assert pool.confirm("player@example.com") == ""
    assert pool.tokens("player@example.com")["ExpiresIn"] == 7 * 60


def test_errors_do_not_show_whether_an_account_exists(emulators: tuple[bool, Callable[[str], Pool]]) -> None:
    pool = emulators[1]("unknown")
    assert pool.log_in("nobody@example.com") == "NotAuthorizedException"
    assert pool.forgot("nobody@example.com") == ""
    assert pool.confirm("nobody@example.com", "123456") == "CodeMismatchException"


# The test of the mail quota is the last test, because its mails exceed the quota of all pools.
@pytest.mark.parametrize("name", sorted(probe, key=lambda name: (name == "cognito-mail-quota", name)))
def test_a_correction_is_needed_and_works(name: str, emulators: tuple[bool, Callable[[str], Pool]]) -> None:
    corrected, pool = emulators
    probe.check(name, pool(name), corrected=corrected)


def in_process(code: str) -> Any:
    """Run code in a child process, because ministack reads its settings during the import. Returns: the JSON value."""
    program = f"import json\nfrom mjctl.sandbox.stage import cognito_rules as rules\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_code_expires() -> None:
    code = """
user = {"_confirmation_code": "1", "_confirmation_code_at": 0.0, "_reset_code": "2", "_reset_code_at": 0.0}
left = []
for now in (3600.0, 3601.0, 86400.0, 86401.0):
    rules.expire(user, "_confirmation_code", now); rules.expire(user, "_reset_code", now)
    left.append(sorted(name for name in user if not name.endswith("_at")))
print(json.dumps(left))
"""
    both, confirmation = ["_confirmation_code", "_reset_code"], ["_confirmation_code"]
    assert in_process(code) == [both, confirmation, confirmation, []]


def test_attempts_are_forgotten_after_an_hour() -> None:
    code = """
user = {}
print(json.dumps([rules.attempt(user, "_reset_code", now) for now in (0, 1, 2, 3, 4, 5, 3601, 3602)]))
"""
    assert in_process(code) == [True] * 5 + [False, True, True]


def test_the_quota_of_mail_begins_again_at_nine() -> None:
    nine = 1_790_067_600  # 2026-09-22 09:00 UTC
    code = f"print(json.dumps([rules.quota_day(now) for now in ({nine - 1}, {nine}, {nine + 86399})]))"
    assert in_process(code) == [nine - 86_400, nine, nine]


def test_an_account_is_locked_longer_after_each_wrong_password() -> None:
    code = "print(json.dumps([rules.lock_seconds(failures) for failures in (4, 5, 6, 7, 30)]))"
    assert in_process(code) == [0, 1, 2, 4, 900]


def test_every_correction_has_a_probe() -> None:
    assert corrections_of("mjctl.sandbox.stage.cognito_rules") == set(probe)
