"""Tests that ministack runs with a stage, accepts the operator's access key, and leaves no process after its end."""

from __future__ import annotations

from pathlib import Path

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError

from mjctl.sandbox.emulators import Emulators
from mjctl.sandbox.stage import leftovers


def test_the_operator_is_root_and_iam_decides_for_other_users(tmp_path: Path) -> None:
    with Emulators(tmp_path, names=["ministack"], stage=True) as running:
        identity = running.client("sts", "us-east-1").get_caller_identity()
        assert identity["Arn"] == f"arn:aws:iam::{running.account_id}:root"
        iam = running.client("iam", "us-east-1")
        iam.create_user(UserName="nobody")
        key = iam.create_access_key(UserName="nobody")["AccessKey"]
        stranger = boto3.client(
            "sqs",
            region_name="us-east-1",
            endpoint_url=running.url("ministack"),
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
        )
        with pytest.raises(ClientError) as refused:
            stranger.create_queue(QueueName="mine")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_processes_that_survive_a_killed_ministack_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "stage").mkdir()
    mark = leftovers.mark(tmp_path / "stage")
    child = psutil.Popen(["sleep", "60"], env={leftovers.VARIABLE: mark})
    try:
        assert [process.pid for process in leftovers.processes(tmp_path / "stage")] == [child.pid]
        assert leftovers.processes(tmp_path) == []
    finally:
        child.kill()
        child.wait()
