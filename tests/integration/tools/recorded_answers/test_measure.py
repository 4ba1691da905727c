"""Tests the comparison with real emulators: invented recordings whose values are quoted from AWS's documents.

The model checks run over the same calls.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.recorded_answers import scenario
from tools.recorded_answers.known_differences import KnownDifference
from tools.recorded_answers.measure import measure
from tools.recorded_answers.recordings import LICENSE, Recordings
from tools.recorded_answers.report import Report

FILE = "tests/aws/test_documents.py"

SCENARIOS = """
service: sqs
file: tests/aws/test_documents.py
scenarios:
  - test: test_queue
    calls:
      - {call: create_queue, with: {QueueName: $unique}, save: {queue: QueueUrl}}
      - call: get_queue_attributes
        with: {QueueUrl: $queue, AttributeNames: [DelaySeconds, MessageRetentionPeriod, VisibilityTimeout]}
        record: defaults
      - {call: purge_queue, with: {QueueUrl: $queue}}
      - {call: purge_queue, with: {QueueUrl: $queue}, record: purged-twice}
      - {call: get_queue_url, with: {QueueName: none-$id}, record: no-queue}
  - test: test_key
    calls:
      - call: kms.create_key
        save: {key: KeyMetadata.KeyId}
        record: created
        of: "{Spec: KeyMetadata.KeySpec, Id: KeyMetadata.KeyId}"
      - call: kms.describe_key
        with: {KeyId: $key}
        record: described
        of: "{Id: KeyMetadata.KeyId, State: KeyMetadata.KeyState}"
  - test: test_table
    calls:
      - {call: dynamodb.get_item, with: {TableName: none-$id, Key: {id: {S: a}}}, record: no-table}
  - test: test_alarm
    calls:
      - call: cloudwatch.set_alarm_state
        with: {AlarmName: none-$id, StateValue: OK, StateReason: a}
        record: no-alarm
"""

RECORDED: dict[str, Any] = {
    "test_queue": {
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html: defaults
        "defaults": {
            "Attributes": {"DelaySeconds": "0", "MessageRetentionPeriod": "345600", "VisibilityTimeout": "30"},
            "ResponseMetadata": {"HTTPHeaders": {}, "HTTPStatusCode": 200},
        },
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_PurgeQueue.html: "Indicates that the
        # specified queue previously received a PurgeQueue request within the last 60 seconds"
        "purged-twice": "An error occurred (AWS.SimpleQueueService.PurgeQueueInProgress) when calling the PurgeQueue "
        "operation: Only one PurgeQueue operation on <queue:1> is allowed every 60 seconds.",
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueUrl.html
        "no-queue": {
            "Error": {
                "Code": "AWS.SimpleQueueService.NonExistentQueue",
                "Message": "<message>",
                "QueryErrorCode": "QueueDoesNotExist",
                "Type": "Sender",
            },
            "ResponseMetadata": {"HTTPHeaders": {}, "HTTPStatusCode": 400},
        },
    },
    "test_key": {
        # https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html: the default is SYMMETRIC_DEFAULT
        "created": {"Spec": "SYMMETRIC_DEFAULT", "Id": "<key-id:1>"},
        "described": {"Id": "<key-id:1>", "State": "Enabled"},
    },
    # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_GetItem.html
    "test_table": {
        "no-table": "An error occurred (ResourceNotFoundException) when calling the GetItem operation: <text>"
    },
    "test_alarm": {
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html: status code 404
        "no-alarm": {
            "Error": {
                "Code": "ResourceNotFound",
                "Message": "<message>",
                "QueryErrorCode": "ResourceNotFound",
                "Type": "Sender",
            },
            "ResponseMetadata": {"HTTPHeaders": {}, "HTTPStatusCode": 404},
        }
    },
}


def run(folder: Path, recorded: dict[str, Any], known: dict[tuple[str, str], KnownDifference]) -> Report:
    (folder / "tests/aws").mkdir(parents=True)
    (folder / "LICENSE.txt").write_text(LICENSE, encoding="utf-8")
    snapshot = {f"{FILE}::{test}": {"recorded-content": content} for test, content in recorded.items()}
    (folder / "tests/aws/test_documents.snapshot.json").write_text(json.dumps(snapshot), encoding="utf-8")
    (folder / "tests/aws/test_documents.validation.json").write_text("{}", encoding="utf-8")
    (folder / "scenarios").mkdir()
    (folder / "scenarios/documents.yaml").write_text(SCENARIOS, encoding="utf-8")
    return measure(Recordings(folder), scenario.load(folder / "scenarios", account="123456789012"), known)


@pytest.mark.timeout(60)
def test_the_emulators_answer_as_the_documents_say(tmp_path: Path) -> None:
    report = run(tmp_path, RECORDED, {})
    assert report.differences == {}
    assert not report.failed
    assert sum(count["compared"] for count in report.counts().values()) == 7
    # Each request was checked once, and each answer once.
    assert report.checked == 2 * 9


@pytest.mark.timeout(60)
def test_an_unlisted_difference_and_a_vanished_difference_fail_the_run(tmp_path: Path) -> None:
    changed = {**RECORDED, "test_key": {**RECORDED["test_key"], "described": {"Id": "<key-id:1>", "State": "Disabled"}}}
    removed = KnownDifference("sqs test_queue defaults", "missing $.Attributes.Policy", "invented")
    report = run(tmp_path, changed, {(removed.place, removed.difference): removed})
    assert report.unlisted == {"sqs test_key described": ["value $.State"]}
    assert report.vanished == [(removed.place, removed.difference)]
    assert report.failed
