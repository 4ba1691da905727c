"""Builds the game server's image with Docker's buildx and pushes it.

The image's tag is the digest of the game server's code.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from mjctl.clients.account import Account
from mjctl.clients.error_codes import error_code
from mjctl.files import write_private
from mjctl.models.errors import DependencyError, MjctlError, NotFoundError

# The platform of the ECS tasks that terraform/modules/game_service defines.
PLATFORM = "linux/amd64"

_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
# The digest of the empty JSON object, by which a manifest says that the image has no configuration:
# https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidance-for-an-empty-descriptor
_EMPTY_DIGEST = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
_BUILD_SECONDS = 3600
_LOOK_SECONDS = 5.0
_SHORT_SECONDS = 60


@dataclass(frozen=True)
class Registry:
    """Describes the image repository in the account's registry (ECR), which the foundation creates.

    Attributes:
        account: The AWS account of the environment.
        region: The AWS region of the registry.
        repository: The name of the image repository.
        url: The address of the image repository, without `https://`.
    """

    account: Account
    region: str
    repository: str
    url: str

    @classmethod
    def of(cls, account: Account, foundation: Mapping[str, Any]) -> Registry:
        """Return the image repository that the foundation's contract names."""
        published = foundation["registry"]
        return cls(account, foundation["primary_region"], published["repository_name"], published["repository_url"])

    def in_region(self, region: str) -> Registry:
        """Return the image repository of the account in another region, to which ECR replicates the images."""
        return replace(self, region=region, url=self.url.replace(f".ecr.{self.region}.", f".ecr.{region}."))

    @property
    def host(self) -> str:
        """Return the host name of the registry."""
        return self.url.split("/", 1)[0]

    def digest(self, tag: str) -> str | None:
        """Return the digest `sha256:...` of the image with the tag `tag`, or None if the registry has no such image.

        Tags in the registry are immutable, so a tag always names the same image.

        Raises:
            PermissionDeniedError: AWS refused access to the registry.
            UnreachableError: the registry did not answer.
        """
        client = self.account.client("ecr", self.region)
        try:
            answer = client.describe_images(repositoryName=self.repository, imageIds=[{"imageTag": tag}])
        except Exception as error:
            if error_code(error) in ("ImageNotFoundException", "RepositoryNotFoundException"):
                return None
            raise self.account.explain(error, f"image {self.url}:{tag}") from error
        return str(answer["imageDetails"][0]["imageDigest"])

    def log_in(self) -> tuple[str, str]:
        """Return a user and a password for `docker login`, which are valid for twelve hours.

        Raises:
            PermissionDeniedError: AWS refused access to the registry.
            UnreachableError: the registry did not answer.
        """
        try:
            answer = self.account.client("ecr", self.region).get_authorization_token()
        except Exception as error:
            raise self.account.explain(error, f"registry {self.host}") from error
        user, _, password = (
            base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode().partition(":")
        )
        return user, password


@dataclass(frozen=True)
class Image:
    """Describes an image of the game server in the registry.

    Attributes:
        repository: The address of the image repository.
        revision: The image's tag in the registry, which is the digest of the game server's code.
        digest: The image's digest `sha256:...`, which the registry computes.
        pushed: True if `push_image` pushed the image, False if the registry already had the image.
    """

    repository: str
    revision: str
    digest: str
    pushed: bool

    @property
    def reference(self) -> str:
        """Return the image's address with the image's digest, as an ECS task definition names an image."""
        return f"{self.repository}@{self.digest}"


def push_image(
    registry: Registry, dockerfile: Path, source: Path, tag: str, log: IO[str], python_image: str | None
) -> Image:
    """Build the image of `source`/gameserver and push it, unless the registry has an image with the tag `tag`.

    Args:
        registry: The image repository that receives the image.
        dockerfile: The path of the image's Dockerfile.
        source: The folder that contains gameserver/.
        tag: The tag of the image in the registry: the digest of the game server's code.
        log: The file that receives Docker's output.
        python_image: The base image with Python, best named with a digest; None for the Dockerfile's base image.

    Raises:
        DependencyError: Docker or its plugin buildx is missing, or Docker's engine does not run.
        MjctlError: Docker failed. Docker's output is in `log`.
        PermissionDeniedError: AWS refused access to the registry.
        UnreachableError: the registry did not answer.
    """
    digest = registry.digest(tag)
    if digest is not None:
        return Image(registry.url, tag, digest, pushed=False)
    docker = find_docker()
    user, password = registry.log_in()
    _run([docker, "login", "--username", user, "--password-stdin", registry.host], log, _SHORT_SECONDS, stdin=password)
    try:
        digest = _build(docker, f"{registry.url}:{tag}", dockerfile, source, log, python_image)
    finally:
        _run([docker, "logout", registry.host], log, _SHORT_SECONDS)
    return Image(registry.url, tag, digest, pushed=True)


def manifest_without_layers(tag: str) -> str:
    """Return the manifest that stands for the image of the game server with the tag `tag` in an emulated AWS."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST_TYPE,
            "annotations": {"org.opencontainers.image.version": tag},
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": _EMPTY_DIGEST, "size": 2},
            "layers": [],
        }
    )


def push_manifest(registry: Registry, tag: str) -> Image:
    """Push an image without layers to a registry of an emulated AWS, which runs no images.

    A registry that has the tag already stays unchanged. A missing repository is created, as ECR's replication does.

    Raises:
        PermissionDeniedError: the emulated AWS refused access to the registry.
        UnreachableError: the registry did not answer.
    """
    digest = registry.digest(tag)
    if digest is not None:
        return Image(registry.url, tag, digest, pushed=False)
    client = registry.account.client("ecr", registry.region)
    try:
        with suppress(client.exceptions.RepositoryAlreadyExistsException):
            client.create_repository(repositoryName=registry.repository)
        answer = client.put_image(
            repositoryName=registry.repository, imageManifest=manifest_without_layers(tag), imageTag=tag
        )
    except Exception as error:
        raise registry.account.explain(error, f"image {registry.url}:{tag}") from error
    return Image(registry.url, tag, str(answer["image"]["imageId"]["imageDigest"]), pushed=True)


async def await_copy(registry: Registry, tag: str, seconds: float, say: Callable[[str], None]) -> None:
    """Wait until ECR has replicated an image to the registry of a region, in which the region's tasks look for it.

    Args:
        registry: The registry of the region.
        tag: The tag of the image.
        seconds: The longest time to wait.
        say: Receives a note for the operator if the command has to wait.

    Raises:
        NotFoundError: the registry does not have the image.
        PermissionDeniedError: AWS refused access to the registry.
        UnreachableError: the registry did not answer.
    """
    deadline = time.monotonic() + seconds
    waiting = False
    while await asyncio.to_thread(registry.digest, tag) is None:
        if time.monotonic() >= deadline:
            raise NotFoundError(
                f"the registry of {registry.region} has no copy of the game server image {registry.url}:{tag}",
                where=f"{registry.account.where}, region {registry.region}",
                hint=_copy_hint(registry.account),
            )
        if not waiting:
            say(f"waiting up to {seconds:.0f} s until ECR has replicated the image to {registry.region}")
            waiting = True
        await asyncio.sleep(_LOOK_SECONDS)


def _copy_hint(account: Account) -> str:
    cause = (
        "check the destinations and the filter of the replication in terraform/modules/registry. ECR does not "
        "replicate images that were pushed before the region became a destination"
    )
    if account.emulated:
        return f"{cause}: `mjctl package --push --env {account.environment}` copies such an image"
    return f"{cause}: start a replication backfill of ECR for such an image, or deploy changed code"


def find_docker() -> str:
    """Return the path of `docker`, after a check that Docker's plugin buildx and Docker's engine work.

    Raises:
        DependencyError: Docker is not on PATH, has no plugin buildx, or its engine does not run.
    """
    docker = shutil.which("docker")
    if docker is None:
        raise DependencyError(
            "the build of the image needs Docker, and `docker` is not on PATH",
            hint="install Docker with buildx, or run this command in a pipeline that has Docker",
        )
    for command, what, hint in (
        (["buildx", "version"], "this Docker has no plugin buildx", "install the package docker-buildx-plugin"),
        (["info"], "Docker's engine does not answer", "start the engine, or set DOCKER_HOST to another engine"),
    ):
        done = subprocess.run([docker, *command], capture_output=True, timeout=_SHORT_SECONDS, check=False)
        if done.returncode != 0:
            raise DependencyError(what, where=docker, hint=hint)
    return docker


def record(folder: Path, image: Image) -> None:
    """Write the repository, the digest and the tag of `image` to `folder`/image.json, for other programs."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {"repository": image.repository, "digest": image.digest, "revision": image.revision}
    write_private(folder / "image.json", json.dumps(document, indent=2))


def _build(docker: str, name: str, dockerfile: Path, source: Path, log: IO[str], python_image: str | None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        metadata = Path(folder) / "metadata.json"
        what = [f"--build-arg=PYTHON_IMAGE={python_image}"] if python_image else []
        what += [f"--file={dockerfile}", f"--tag={name}", str(source)]
        # Without provenance, buildx pushes a single manifest and no index, so that the digest in buildx's metadata is
        # the digest of the image that ECS runs.
        options = [f"--platform={PLATFORM}", "--provenance=false", "--pull", "--push", f"--metadata-file={metadata}"]
        _run([docker, "buildx", "build", *options, *what], log, _BUILD_SECONDS)
        return str(json.loads(metadata.read_text(encoding="utf-8"))["containerimage.digest"])


def _run(command: Sequence[str], log: IO[str], seconds: float, *, stdin: str = "") -> None:
    log.flush()
    done = subprocess.run(
        command,
        input=stdin,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, "BUILDKIT_PROGRESS": "plain"},
    )
    if done.returncode != 0:
        what = " ".join(command[1:3] if command[1] == "buildx" else command[1:2])
        raise MjctlError(
            f"docker {what} failed with exit code {done.returncode}",
            where=log.name,
            hint=f"read Docker's output in {log.name}",
        )
