"""The files of the web client are published to a bucket of an emulated AWS, as the API serves them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mjctl.deploy.releases import web_client
from mjctl.models.config_file import load_environment
from mjctl.models.workspace import Workspace
from mjctl.sandbox.emulators import Emulators

BUCKET = "arena-web"
PROJECT = Workspace.discover(Path(__file__))
WEB = PROJECT.project_dir / "web"


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with Emulators(tmp_path_factory.mktemp("emulators"), names=["ministack"]) as running:
        yield running


@pytest.fixture
def s3(emulators: Emulators) -> Iterator[Any]:
    client = emulators.client("s3", "us-east-1")
    client.create_bucket(Bucket=BUCKET)
    yield client
    for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=entry["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture(scope="module")
def cloudfront(emulators: Emulators) -> Any:
    return emulators.client("cloudfront", "us-east-1")


@pytest.fixture(scope="module")
def distribution(cloudfront: Any) -> str:
    answer = cloudfront.create_distribution(
        DistributionConfig={
            "CallerReference": "test",
            "Comment": "",
            "Enabled": True,
            "Origins": {
                "Quantity": 1,
                "Items": [
                    {
                        "Id": "web",
                        "DomainName": f"{BUCKET}.s3.amazonaws.com",
                        "S3OriginConfig": {"OriginAccessIdentity": ""},
                    }
                ],
            },
            "DefaultCacheBehavior": {
                "TargetOriginId": "web",
                "ViewerProtocolPolicy": "redirect-to-https",
                "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
            },
        }
    )
    return str(answer["Distribution"]["Id"])


def test_the_bucket_has_the_files_of_the_client_and_no_other_files(s3: Any, cloudfront: Any, distribution: str) -> None:
    files = web_client.client_files(WEB, load_environment(PROJECT, "prod"))
    s3.put_object(Bucket=BUCKET, Key="left-over.js", Body=b"old")
    done = web_client.publish(files, s3, cloudfront, bucket=BUCKET, distribution_id=distribution)
    assert done.removed == ("left-over.js",)
    assert done.uploaded[-1] == "index.html"
    held = {entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert held == set(files)
    page = s3.get_object(Bucket=BUCKET, Key="index.html")
    assert page["Body"].read() == (WEB / "index.html").read_bytes()
    assert (page["ContentType"], page["CacheControl"]) == ("text/html", "no-cache")
    config = json.loads(s3.get_object(Bucket=BUCKET, Key="config.json")["Body"].read())
    assert config["api"] == ""
    assert [mode["name"] for mode in config["modes"]] == ["arena", "sprint"]
    batch = cloudfront.get_invalidation(DistributionId=distribution, Id=done.invalidation_id)["Invalidation"]
    assert batch["InvalidationBatch"]["Paths"]["Items"] == ["/*"]


def test_only_changed_files_are_published_again(s3: Any, cloudfront: Any, distribution: str, tmp_path: Path) -> None:
    environment = load_environment(PROJECT, "prod")
    files = web_client.client_files(WEB, environment)
    web_client.publish(files, s3, cloudfront, bucket=BUCKET, distribution_id=distribution)
    again = web_client.publish(files, s3, cloudfront, bucket=BUCKET, distribution_id=distribution)
    assert (again.uploaded, again.removed, again.unchanged, again.invalidation_id) == ((), (), len(files), None)
    folder = tmp_path / "web"
    folder.mkdir()
    for path in WEB.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "style.css").write_text("body { color: white }\n")
    (folder / "notes.txt").write_text("not for players")
    changed = web_client.publish(
        web_client.client_files(folder, environment), s3, cloudfront, bucket=BUCKET, distribution_id=distribution
    )
    assert changed.uploaded == ("style.css",)
    back = web_client.publish(files, s3, cloudfront, bucket=BUCKET, distribution_id=distribution)
    assert len({changed.invalidation_id, back.invalidation_id, None}) == 3
