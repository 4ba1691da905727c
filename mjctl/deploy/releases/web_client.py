"""The web client behind CloudFront: the files that `gameserver api` serves, in the edge's bucket."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gameserver.http.web_files import WebFile, client_config, client_paths
from gameserver.runtime.settings import Mode
from mjctl.models.environment import Environment
from mjctl.terraform.stack import Stack

_DIGEST = "sha256"
_PAGE = "index.html"


@dataclass(frozen=True)
class Publication:
    """What publishing changed, by file name. `invalidation_id`: None when nothing was changed."""

    uploaded: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int
    invalidation_id: str | None


def client_files(folder: Path, environment: Environment) -> dict[str, WebFile]:
    """Return the web client in `folder`, with a `config.json` for a page beside its API."""
    files = {path.name: WebFile.of(path.name, path.read_bytes()) for path in client_paths(folder)}
    modes = [Mode(name, mode.seats, mode.duration_seconds, mode.rules) for name, mode in environment.game.modes.items()]
    return {**files, "config.json": WebFile.of("config.json", client_config("", modes))}


def publish_at(edge: Stack, environment: Environment, folder: Path) -> Publication | None:
    """Publish the web client in `folder` where the deployed stack `edge` serves it.

    Returns:
        None where the stack has no bucket for it.

    Raises:
        UnreachableError, PermissionDeniedError: the bucket or the distribution refuses; publish again once mended.
    """
    contract = edge.outputs().get("contract", {})
    if edge.account is None or "web_bucket" not in contract:
        return None
    try:
        return publish(
            client_files(folder, environment),
            edge.account.client("s3"),
            edge.account.client("cloudfront", "us-east-1"),
            bucket=contract["web_bucket"],
            distribution_id=contract["distribution_id"],
        )
    except Exception as error:
        raise edge.account.explain(error, f"s3://{contract['web_bucket']}") from error


def publish(
    files: Mapping[str, WebFile], s3: Any, cloudfront: Any, *, bucket: str, distribution_id: str
) -> Publication:
    """Make `bucket` hold `files` and nothing else, and have the distribution forget what has changed.

    The page itself is uploaded last and nothing is removed before: who loads it meanwhile gets the old client or the
    new one, whole. Clients are boto3's.

    Raises:
        botocore.exceptions.ClientError: the bucket or the distribution refuses; publish again once mended.
    """
    there = _digests(s3, bucket)
    changed = sorted(
        (name for name, file in files.items() if there.get(name) != file.tag), key=lambda name: (name == _PAGE, name)
    )
    for name in changed:
        file = files[name]
        s3.put_object(
            Bucket=bucket,
            Key=name,
            Body=file.body,
            ContentType=file.content_type,
            # They refer to each other by plain names: a browser has to ask whether they are still the ones it knows.
            CacheControl="no-cache",
            Metadata={_DIGEST: file.tag},
        )
    removed = sorted(set(there) - set(files))
    for name in removed:
        s3.delete_object(Bucket=bucket, Key=name)
    invalidation = _invalidate(cloudfront, distribution_id) if changed or removed else None
    return Publication(tuple(changed), tuple(removed), len(files) - len(changed), invalidation)


def _digests(s3: Any, bucket: str) -> dict[str, str | None]:
    """What the bucket holds: digest by name, None for what somebody else has put there."""
    found: dict[str, str | None] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", ()):
            head = s3.head_object(Bucket=bucket, Key=entry["Key"])
            found[entry["Key"]] = head["Metadata"].get(_DIGEST)
    return found


def _invalidate(cloudfront: Any, distribution_id: str) -> str:
    reference = f"mjctl-{time.time_ns()}"
    made = cloudfront.create_invalidation(
        DistributionId=distribution_id,
        InvalidationBatch={"CallerReference": reference, "Paths": {"Quantity": 1, "Items": ["/*"]}},
    )
    return str(made["Invalidation"]["Id"])
