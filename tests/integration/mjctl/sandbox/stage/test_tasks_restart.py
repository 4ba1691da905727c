"""Tests that services run again after a restart of the sandbox."""

from __future__ import annotations

from pathlib import Path

import boto3
import psutil
import pytest

from mjctl.local import emulated
from mjctl.local.credentials import ensure_aws_key
from mjctl.package.image import manifest_without_layers
from mjctl.sandbox import daemon
from tests.tiny_game import DIGEST, REGION, TinyCluster, eventually, process_of, write_release

pytestmark = pytest.mark.timeout(120)


def connected(sandbox: daemon.RunningSandbox) -> TinyCluster:
    session = boto3.Session(botocore_session=emulated.session(ensure_aws_key(Path(sandbox.key_file))))

    def client(service: str) -> object:
        url = sandbox.endpoints.get(f"AWS_ENDPOINT_URL_{service.upper()}", sandbox.endpoints["AWS_ENDPOINT_URL"])
        plain = session.client(service, region_name=REGION, endpoint_url=url, config=emulated.client_config())
        return emulated.sign_everything(plain)

    return TinyCluster(client, sandbox.account_id)


def test_a_service_gets_a_new_task_after_a_restart(tmp_path: Path) -> None:
    write_release(tmp_path / "releases")
    try:
        cluster = connected(daemon.start(tmp_path).sandbox)
        cluster.create()
        ecr = cluster.client("ecr")
        ecr.create_repository(repositoryName="arena")
        pushed = ecr.put_image(repositoryName="arena", imageManifest=manifest_without_layers(DIGEST), imageTag=DIGEST)
        digest = pushed["image"]["imageId"]["imageDigest"]
        image = f"{cluster.account_id}.dkr.ecr.{REGION}.amazonaws.com/arena@{digest}"
        queue = cluster.client("sqs").create_queue(QueueName="events")["QueueUrl"]
        role = cluster.role("sender", ["sqs:SendMessage"])
        game = {"game": "farewell", "task_role": role, "variables": {"QUEUE": queue}, "image": image}
        cluster.serve("main", cluster.register("main", **game))
        eventually(lambda: cluster.is_stable("main"))
        before = cluster.tasks("main")[0]
        pid = process_of(before).pid
        daemon.stop(tmp_path)
        assert not psutil.pid_exists(pid)
        cluster = connected(daemon.start(tmp_path).sandbox)
        after = eventually(lambda: cluster.service("main")["runningCount"] == 1 and cluster.tasks("main")[0])
        assert after["taskArn"] != before["taskArn"]
        assert process_of(after).is_running()
        lost = cluster.task(before["taskArn"])
        assert (lost["lastStatus"], lost["desiredStatus"]) == ("STOPPED", "STOPPED")
        # When the sandbox stopped, the task sent its last message before ministack ended.
        messages = cluster.client("sqs").receive_message(QueueUrl=queue)["Messages"]
        assert [message["Body"] for message in messages] == ["farewell"]
        assert eventually(lambda: cluster.is_stable("main"))
    finally:
        daemon.stop(tmp_path)
