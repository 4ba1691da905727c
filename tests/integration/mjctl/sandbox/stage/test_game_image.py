"""Tests that a task pulls its image from the registry that the image's name contains, as on AWS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mjctl.package.image import manifest_without_layers
from tests.tiny_game import CLUSTER, DIGEST, REGION, TinyCluster, eventually, running_cluster

OTHER_REGION = "eu-west-1"
REPOSITORY = "arena/game"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyCluster]:
    with running_cluster(tmp_path_factory.mktemp("stage"), "moto") as running:
        running.client("ecr").create_repository(repositoryName=REPOSITORY)
        yield running


def name(cluster: TinyCluster, reference: str, region: str = REGION) -> str:
    return f"{cluster.account_id}.dkr.ecr.{region}.amazonaws.com/{REPOSITORY}{reference}"


def push(cluster: TinyCluster, tag: str = DIGEST) -> str:
    """Push an image. Returns: the digest of the image."""
    image = cluster.client("ecr").put_image(
        repositoryName=REPOSITORY, imageManifest=manifest_without_layers(tag), imageTag=tag
    )
    return str(image["image"]["imageId"]["imageDigest"])


def outcome(cluster: TinyCluster, image: str) -> dict[str, Any]:
    """Run a task with an image. Returns: the task after it has started or stopped."""
    definition = cluster.register("pull", image=image)
    arn = cluster.ecs.run_task(
        cluster=CLUSTER,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": cluster.subnets}},
        taskDefinition=definition,
    )["tasks"][0]["taskArn"]

    def ended() -> dict[str, Any] | None:
        task: dict[str, Any] = cluster.ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"][0]
        return task if task["lastStatus"] in {"RUNNING", "STOPPED"} else None

    return eventually(ended)


def test_an_image_is_pulled_only_from_a_region_that_has_it(cluster: TinyCluster) -> None:
    missing = outcome(cluster, name(cluster, f":{DIGEST}"))
    assert missing["stoppedReason"] == (
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref "
        f"{name(cluster, f':{DIGEST}')}: {name(cluster, f':{DIGEST}')}: not found"
    )
    digest = push(cluster)
    assert outcome(cluster, name(cluster, f"@{digest}"))["lastStatus"] == "RUNNING"
    elsewhere = name(cluster, f"@{digest}", OTHER_REGION)
    refused = outcome(cluster, elsewhere)
    assert refused["stopCode"] == "TaskFailedToStart"
    assert refused["stoppedReason"].startswith("CannotPullContainerError: ")
    assert elsewhere in refused["stoppedReason"]
    rule = {"destinations": [{"region": OTHER_REGION, "registryId": cluster.account_id}]}
    ecr = cluster.client("ecr")
    ecr.put_replication_configuration(replicationConfiguration={"rules": [rule]})
    assert outcome(cluster, elsewhere)["lastStatus"] == "STOPPED"
    ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": DIGEST}])
    push(cluster)
    assert outcome(cluster, elsewhere)["lastStatus"] == "RUNNING"


def test_an_image_whose_code_no_release_has_cannot_start(cluster: TinyCluster) -> None:
    digest = push(cluster, "ab" * 32)
    assert outcome(cluster, name(cluster, f"@{digest}"))["stoppedReason"].startswith("CannotPullContainerError: ")
