"""Tests that the log of calls records each call once, and shows the permissions that no call used."""

from __future__ import annotations

from pathlib import Path

import pytest

from mjctl.sandbox.call_log import CallLog, RecordedCall, folded, read_calls, role_uses
from mjctl.sandbox.policies import Policy

ROLE = "arn:aws:iam::123456789012:role/game"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:events"


def policy(action: str, resource: str, effect: str = "Allow") -> Policy:
    return Policy.parse({"Statement": {"Effect": effect, "Action": action, "Resource": resource}})


def test_equal_calls_are_written_once_also_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    calls = [
        RecordedCall(ROLE, "sqs:SendMessage", QUEUE, True, "", 1.0),
        RecordedCall(ROLE, "sqs:SendMessage", QUEUE, False),
    ]
    for _ in range(2):
        log = CallLog(file)
        for call in calls:
            log.add(call)
    assert read_calls(file) == calls


def test_an_incomplete_line_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    CallLog(file).add(RecordedCall(ROLE, "sqs:SendMessage", QUEUE, True))
    with file.open("a") as stream:
        stream.write('{"caller": "arn:aws')
    assert len(read_calls(file)) == 1


def test_a_full_log_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mjctl.sandbox.call_log._LARGEST", 1)
    log = CallLog(tmp_path / "calls.jsonl")
    for action in ("sqs:SendMessage", "sqs:PurgeQueue"):
        log.add(RecordedCall(ROLE, action, QUEUE, True))
    assert [call.action for call in read_calls(tmp_path / "calls.jsonl")] == ["sqs:SendMessage"]


def test_a_permission_is_used_by_an_allowed_call_only() -> None:
    calls = [
        RecordedCall(ROLE, "sqs:SendMessage", QUEUE, True),
        RecordedCall(ROLE, "sqs:PurgeQueue", QUEUE, False, "no policy"),
        RecordedCall(ROLE + "-other", "sqs:DeleteMessage", QUEUE, True),
    ]
    own = [
        policy("sqs:Send*", "arn:aws:sqs:*:*:*"),
        policy("sqs:PurgeQueue", QUEUE),
        policy("sqs:DeleteMessage", QUEUE),
    ]
    (use,) = role_uses({ROLE: [*own, policy("*", "*", "Deny")]}, calls)
    assert use.allowed == 3
    assert use.unused == (("sqs:DeleteMessage", QUEUE), ("sqs:PurgeQueue", QUEUE))
    assert use.refused == (calls[1],)


@pytest.mark.parametrize(
    ("resource", "folder"),
    [
        (QUEUE, QUEUE),
        ("arn:aws:s3:::bucket", "arn:aws:s3:::bucket"),
        ("arn:aws:s3:::bucket/a/b", "arn:aws:s3:::bucket/*"),
        ("arn:aws:logs:r:1:log-group:/a:log-stream:x", "arn:aws:logs:r:1:log-group:/a:log-stream:*"),
    ],
)
def test_objects_and_log_streams_are_one_resource(resource: str, folder: str) -> None:
    assert folded(resource) == folder
