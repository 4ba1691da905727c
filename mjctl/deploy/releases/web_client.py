"""Publishes the web client in the bucket from which CloudFront serves it.

The bucket of the edge gets the same files that `gameserver api` serves in a local region.
"""

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
    """Describes which files a publication of the web client has changed in the bucket.

    Attributes:
        uploaded: The names of the uploaded files.
        removed: The names of the removed files.
        unchanged: The number of files that had the same content in the bucket already.
        invalidation_id: The id of CloudFront's invalidation, or None if no file was changed.
    """

    uploaded: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int
    invalidation_id: str | None


def client_files(folder: Path, environment: Environment) -> dict[str, WebFile]:
    """Return the files of the web client in `folder` by name, with the `config.json` of the environment.

    The `config.json` names no address of an API, so the page calls the API at the page's own origin.
    """
    files = {path.name: WebFile.of(path.name, path.read_bytes()) for path in client_paths(folder)}
    modes = [Mode(name, mode.seats, mode.duration_seconds, mode.rules) for name, mode in environment.game.modes.items()]
    return {**files, "config.json": WebFile.of("config.json", client_config("", modes))}


def publish_at(edge: Stack, environment: Environment, folder: Path) -> Publication | None:
    """Publish the web client in `folder` to the bucket of the deployed stack `edge`.

    Returns:
        The published changes, or None if the stack `edge` has no bucket for a web client.

    Raises:
        UnreachableError, PermissionDeniedError: The bucket or the distribution refuses a request. A part of the web
            client may be published already, so publish the web client again after the cause of the refusal is fixed.
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
    """Make `files` the only objects of `bucket`, and invalidate the cache of the distribution if an object changes.

    The page `index.html` is uploaded after all other new files, and old files are removed last, so that a browser
    always finds every file that the page names.

    Args:
        files: The files of the web client by name.
        s3: A boto3 client of S3.
        cloudfront: A boto3 client of CloudFront.
        bucket: The name of the bucket.
        distribution_id: The id of the CloudFront distribution that serves the bucket.

    Raises:
        botocore.exceptions.ClientError: The bucket or the distribution refuses a request. Publish the web client again
            after the cause of the refusal is fixed.
    """
    stored = _digests(s3, bucket)
    changed = sorted(
        (name for name, file in files.items() if stored.get(name) != file.tag), key=lambda name: (name == _PAGE, name)
    )
    for name in changed:
        file = files[name]
        s3.put_object(
            Bucket=bucket,
            Key=name,
            Body=file.body,
            ContentType=file.content_type,
            # The names of the web client's files contain no digest, so a browser must ask for each cached file whether
            # it is current.
            CacheControl="no-cache",
            Metadata={_DIGEST: file.tag},
        )
    removed = sorted(set(stored) - set(files))
    for name in removed:
        s3.delete_object(Bucket=bucket, Key=name)
    invalidation = _invalidate(cloudfront, distribution_id) if changed or removed else None
    return Publication(tuple(changed), tuple(removed), len(files) - len(changed), invalidation)


def _digests(s3: Any, bucket: str) -> dict[str, str | None]:
    """Return the digest of each object in the bucket, by name; None for an object without a digest of mjctl."""
    digests: dict[str, str | None] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", ()):
            head = s3.head_object(Bucket=bucket, Key=entry["Key"])
            digests[entry["Key"]] = head["Metadata"].get(_DIGEST)
    return digests


def _invalidate(cloudfront: Any, distribution_id: str) -> str:
    reference = f"mjctl-{time.time_ns()}"
    answer = cloudfront.create_invalidation(
        DistributionId=distribution_id,
        InvalidationBatch={"CallerReference": reference, "Paths": {"Quantity": 1, "Items": ["/*"]}},
    )
    return str(answer["Invalidation"]["Id"])
