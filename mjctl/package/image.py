"""The game server's image: built and pushed by Docker's buildx, found again in the registry by the code's digest."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mjctl.clients.account import Account
from mjctl.clients.error_codes import error_code
from mjctl.files import write_private
from mjctl.models.errors import DependencyError, MjctlError

# What terraform/modules/game_service runs.
PLATFORM = "linux/amd64"

_BUILD_SECONDS = 3600
_SHORT_SECONDS = 60


@dataclass(frozen=True)
class Registry:
    """A repository of the account's own registry, as the stack foundation publishes it."""

    account: Account
    region: str
    repository: str
    url: str

    @classmethod
    def of(cls, account: Account, foundation: Mapping[str, Any]) -> Registry:
        """`foundation` is that stack's contract."""
        published = foundation["registry"]
        return cls(account, foundation["primary_region"], published["repository_name"], published["repository_url"])

    @property
    def host(self) -> str:
        return self.url.split("/", 1)[0]

    def digest(self, revision: str) -> str | None:
        """`sha256:...` of the image that was pushed for `revision`; tags cannot be moved.

        Raises:
            PermissionDeniedError, UnreachableError: the registry.
        """
        client = self.account.client("ecr", self.region)
        try:
            found = client.describe_images(repositoryName=self.repository, imageIds=[{"imageTag": revision}])
        except Exception as error:
            if error_code(error) in ("ImageNotFoundException", "RepositoryNotFoundException"):
                return None
            raise self.account.explain(error, f"image {self.url}:{revision}") from error
        return str(found["imageDetails"][0]["imageDigest"])

    def log_in(self) -> tuple[str, str]:
        """User and password for `docker login`, good for twelve hours."""
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
    """`revision` is the digest of the game's code, `digest` the image's own. `made`: it was not in the registry yet."""

    repository: str
    revision: str
    digest: str
    made: bool

    @property
    def reference(self) -> str:
        return f"{self.repository}@{self.digest}"


def push_image(
    registry: Registry, dockerfile: Path, source: Path, revision: str, log: IO[str], python_image: str | None
) -> Image:
    """Build the image of `source`/gameserver and push it, unless `revision` is in the registry.

    `log` takes what Docker says. `python_image` is another base than the Dockerfile's, best by digest.

    Raises:
        DependencyError: there is no Docker with buildx.
        MjctlError: Docker failed; what it said is in `log`.
        PermissionDeniedError, UnreachableError: the registry.
    """
    digest = registry.digest(revision)
    if digest is not None:
        return Image(registry.url, revision, digest, made=False)
    docker = find_docker()
    user, password = registry.log_in()
    _run([docker, "login", "--username", user, "--password-stdin", registry.host], log, _SHORT_SECONDS, said=password)
    try:
        digest = _build(docker, f"{registry.url}:{revision}", dockerfile, source, log, python_image)
    finally:
        _run([docker, "logout", registry.host], log, _SHORT_SECONDS)
    return Image(registry.url, revision, digest, made=True)


def find_docker() -> str:
    """The Docker on PATH.

    Raises:
        DependencyError: there is none, it has no buildx, or its engine does not run.
    """
    docker = shutil.which("docker")
    if docker is None:
        raise DependencyError(
            "building the image needs Docker, and there is no `docker` on PATH",
            hint="install Docker with buildx, or run this in the pipeline, which has it",
        )
    for command, what, hint in (
        (["buildx", "version"], "this Docker has no buildx", "install its package docker-buildx-plugin"),
        (["info"], "Docker's engine does not answer", "start it, or name another by DOCKER_HOST"),
    ):
        done = subprocess.run([docker, *command], capture_output=True, timeout=_SHORT_SECONDS, check=False)
        if done.returncode != 0:
            raise DependencyError(what, where=docker, hint=hint)
    return docker


def record(folder: Path, image: Image) -> None:
    """Keep what was pushed last in `folder`/image.json, for other tools."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {"repository": image.repository, "digest": image.digest, "revision": image.revision}
    write_private(folder / "image.json", json.dumps(document, indent=2))


def _build(docker: str, tag: str, dockerfile: Path, source: Path, log: IO[str], python_image: str | None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        metadata = Path(folder) / "metadata.json"
        what = [f"--build-arg=PYTHON_IMAGE={python_image}"] if python_image else []
        what += [f"--file={dockerfile}", f"--tag={tag}", str(source)]
        # One manifest and no index around it: its digest is that of what runs.
        options = [f"--platform={PLATFORM}", "--provenance=false", "--pull", "--push", f"--metadata-file={metadata}"]
        _run([docker, "buildx", "build", *options, *what], log, _BUILD_SECONDS)
        return str(json.loads(metadata.read_text(encoding="utf-8"))["containerimage.digest"])


def _run(command: Sequence[str], log: IO[str], seconds: float, *, said: str = "") -> None:
    log.flush()
    done = subprocess.run(
        command,
        input=said,
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
            f"docker {what} failed with exit code {done.returncode}", where=log.name, hint="its output is in that file"
        )
