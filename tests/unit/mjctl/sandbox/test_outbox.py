"""Tests that the outbox stores each message only once, in a private file."""

from __future__ import annotations

import stat
from pathlib import Path

from mjctl.sandbox.outbox import MessageLog, SentMessage, read_messages


def message(number: int, *to: str) -> SentMessage:
    return SentMessage(str(number), float(number), "sender@example.com", list(to), "subject", "text", "SendEmail")


def test_a_message_is_written_once_also_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "mail.jsonl"
    messages = [message(1, "a@example.com"), message(2, "b@example.com", "A@example.com")]
    for _ in range(2):
        outbox = MessageLog(file)
        for sent in messages:
            outbox.add(sent)
    assert read_messages(file) == messages
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_messages_to_one_address_are_found_in_any_case(tmp_path: Path) -> None:
    file = tmp_path / "mail.jsonl"
    outbox = MessageLog(file)
    for sent in (
        message(1, "a@example.com"),
        message(2, "b@example.com", "A@example.com"),
        message(3, "b@example.com"),
    ):
        outbox.add(sent)
    assert [sent.id for sent in read_messages(file, "A@Example.com")] == ["1", "2"]


def test_a_missing_file_and_an_incomplete_line_have_no_message(tmp_path: Path) -> None:
    file = tmp_path / "mail.jsonl"
    assert read_messages(file) == []
    file.write_text('{"id": "1", "sent')
    assert read_messages(file) == []
