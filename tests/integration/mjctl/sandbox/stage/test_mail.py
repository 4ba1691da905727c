"""Tests that the outbox of the stage contains the mails and text messages that Cognito, SES and SNS send."""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.outbox import SentMessage, read_messages
from mjctl.sandbox.stage.layout import mail_file

pytestmark = pytest.mark.timeout(60)

REGION = "us-east-1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mail")


@pytest.fixture(scope="module")
def stage(folder: Path) -> Iterator[Emulators]:
    with Emulators(folder, names=["ministack"], stage=True) as running:
        yield running


def wait_for(folder: Path, address: str, count: int = 1) -> list[SentMessage]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        messages = read_messages(mail_file(folder / "stage"), address)
        if len(messages) >= count:
            return messages
        time.sleep(0.1)
    raise AssertionError(f"no message to {address}")


def test_the_outbox_has_the_code_of_a_player_at_once(stage: Emulators, folder: Path) -> None:
    cognito = stage.client("cognito-idp", REGION)
    pool = cognito.create_user_pool(AutoVerifiedAttributes=["email"], PoolName="p", UsernameAttributes=["email"])
    client = cognito.create_user_pool_client(ClientName="c", UserPoolId=pool["UserPool"]["Id"])["UserPoolClient"]
    address = "player@example.com"
    cognito.sign_up(ClientId=client["ClientId"], Username=address, Password="Not-a-secret-1")
    (message,) = read_messages(mail_file(folder / "stage"), "PLAYER@example.com")
    assert message.kind == "CognitoVerificationMessage"
    assert re.search(r"\b\d{6}\b", message.text)
    assert stat.S_IMODE(mail_file(folder / "stage").stat().st_mode) == 0o600


def test_the_outbox_has_mail_of_ses_in_every_format(stage: Emulators, folder: Path) -> None:
    ses, newer = stage.client("ses", REGION), stage.client("sesv2", REGION)
    for client in (ses, newer):
        create = {"EmailIdentity": "a@example.com"}
        client.verify_email_identity(EmailAddress="a@example.com") if client is ses else client.create_email_identity(
            **create
        )
    content = {"Subject": {"Data": "first"}, "Body": {"Text": {"Data": "text"}}}
    ses.send_email(Source="a@example.com", Destination={"ToAddresses": ["ses@example.com"]}, Message=content)
    newer.send_email(
        FromEmailAddress="a@example.com",
        Destination={"ToAddresses": ["ses@example.com"]},
        Content={"Simple": {"Subject": {"Data": "second"}, "Body": {"Html": {"Data": "<b>text</b>"}}}},
    )
    messages = wait_for(folder, "ses@example.com", 2)
    assert [(message.subject, message.text) for message in messages] == [("first", "text"), ("second", "<b>text</b>")]


def test_an_operator_gets_alarms_after_the_confirmation(stage: Emulators, folder: Path) -> None:
    sns = stage.client("sns", REGION)
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    sns.publish(TopicArn=topic, Message="before", Subject="Alarm")
    (request,) = wait_for(folder, "ops@example.com")
    token = re.search(r"Token=(\S+)", request.text)
    assert token is not None
    sns.confirm_subscription(TopicArn=topic, Token=token[1])
    sns.publish(TopicArn=topic, Message="after", Subject="Alarm")
    messages = wait_for(folder, "ops@example.com", 2)
    assert [message.text for message in messages[1:]] == ["after"]


def test_the_outbox_has_text_messages(stage: Emulators, folder: Path) -> None:
    stage.client("sns", REGION).publish(PhoneNumber="+15550100", Message="code")
    (message,) = wait_for(folder, "+15550100")
    assert (message.kind, message.text) == ("SMS", "code")
