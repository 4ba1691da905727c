"""`mjctl sandbox mail` and `calls` show what the stage has recorded, also while the sandbox is down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mjctl.__main__ import run
from mjctl.models.exit_codes import ExitCode
from mjctl.models.workspace import Workspace
from mjctl.sandbox.call_log import CallLog, RecordedCall
from mjctl.sandbox.daemon import stage_folder
from mjctl.sandbox.outbox import MessageLog, SentMessage
from mjctl.sandbox.stage.layout import calls_file, mail_file
from tests.documents import read_document

ROLE = "arn:aws:iam::123456789012:role/arena-sandbox-game"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:events"
Show = Callable[..., str]


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    monkeypatch.setenv("MJCTL_HOME", str(tmp_path))
    monkeypatch.setenv("MJCTL_PROJECT_DIR", str(Workspace.discover(Path(__file__)).project_dir))

    def shown(*arguments: str) -> str:
        assert run(["sandbox", *arguments]) == ExitCode.OK
        output = capsys.readouterr()
        return output.out + output.err

    return shown


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    folder = stage_folder(tmp_path / "sandbox")
    folder.mkdir(parents=True)
    messages = MessageLog(mail_file(folder))
    for number, address in enumerate(("a@example.com", "b@example.com")):
        text = f"Your verification code is 00000{number}."
        message = SentMessage(str(number), 1.0 + number, "no-reply@example.com", [address], "Code", text, "Cognito")
        messages.add(message)
    calls = CallLog(calls_file(folder))
    calls.add(RecordedCall(ROLE, "sqs:SendMessage", QUEUE, True, "", 1.0))
    calls.add(RecordedCall(ROLE, "sqs:PurgeQueue", QUEUE, False, "a policy of the caller does not allow it", 2.0))
    calls.add(RecordedCall("sns.amazonaws.com", "sqs:SendMessage", QUEUE, True, "", 3.0))
    return folder


def test_mail_is_listed_with_the_newest_message_last(stage: Path, show: Show) -> None:
    output = show("mail")
    assert output.index("000000") < output.index("000001")
    assert "b@example.com" not in show("mail", "--to", "A@example.com")


def test_mail_has_a_document(stage: Path, show: Show) -> None:
    (message,) = read_document(show("mail", "--to", "b@example.com", "--output", "json"))["messages"]
    assert message["text"] == "Your verification code is 000001."
    assert message["to"] == ["b@example.com"]


def test_calls_are_filtered_by_decision_and_role(stage: Path, show: Show) -> None:
    assert "sns.amazonaws.com" in show("calls")
    refused = show("calls", "--refused")
    assert "sqs:PurgeQueue" in refused
    assert "sqs:SendMessage" not in refused
    for role in (ROLE, "arena-sandbox-game"):
        calls = read_document(show("calls", "--role", role, "--output", "json"))["calls"]
        assert [(call["action"], call["allowed"]) for call in calls] == [
            ("sqs:SendMessage", True),
            ("sqs:PurgeQueue", False),
        ]


def test_a_sandbox_without_records_says_so(show: Show) -> None:
    assert "No message was sent to a@example.com." in show("mail", "--to", "a@example.com")
    assert "No refused call was recorded of the role game." in show("calls", "--refused", "--role", "game")
