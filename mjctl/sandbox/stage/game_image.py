"""Runs containers of the game server's image: the code of a release with the settings of the Dockerfile.

The sandbox builds no image. The release store has a folder with the code of each release. The name of a release's
folder is the game digest, the digest of the release's game server. `mjctl deploy` pushes an image without layers to the
emulated ECR, with the game digest as its tag (mjctl.package.image.push_manifest).

A task pulls its image from the registry that the image's name contains, as on AWS: a copy in another region does not
help. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_cannot_pull_image.html
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mjctl.sandbox.stage.authority import Authority
from mjctl.sandbox.stage.containers import Container, ContainerCommand, ImageMissing
from mjctl.sandbox.stage.moto_client import MotoClient

IMAGE = re.compile(r"^(?P<registry>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/")
"""Matches the names of images in registries of ECR."""

_REFERENCE = re.compile(r"@sha256:(?P<digest>[0-9a-f]{64})$|:(?P<tag>[A-Za-z0-9]+)$")
_ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - the word in a task definition, which becomes the task's address


class RegistryImage(NamedTuple):
    """Describes an image in a registry of ECR.

    Attributes:
        digest: The digest of the image, `sha256:…`.
        tags: The tags of the image.
    """

    digest: str
    tags: Sequence[str]


class Registries:
    """Reads the registries of ECR in all regions."""

    def __init__(self, url: str, access_key_id: str) -> None:
        """Create a client without a connection.

        Args:
            url: The address of moto, which emulates ECR.
            access_key_id: The access key id that requests to moto must name. moto checks no signature.
        """
        self._moto = MotoClient(url, access_key_id)

    def image(self, registry: str, region: str, repository: str, reference: re.Match[str]) -> RegistryImage | None:
        """Return the image to which a reference leads, or None if the registry has no such repository or image.

        Args:
            registry: The account of the registry.
            region: The region of the registry.
            repository: The name of the repository.
            reference: A match with the group `digest` or `tag`.
        """
        wanted = (
            {"imageTag": reference["tag"]} if reference["tag"] else {"imageDigest": f"sha256:{reference['digest']}"}
        )
        answer = self._moto.post(
            "ecr",
            region,
            "AmazonEC2ContainerRegistry_V20150921.DescribeImages",
            {"registryId": registry, "repositoryName": repository, "imageIds": [wanted]},
            missing=("RepositoryNotFoundException", "ImageNotFoundException"),
        )
        if answer is None:
            return None
        details = answer["imageDetails"][0]
        return RegistryImage(str(details["imageDigest"]), details.get("imageTags") or [])


class GameImage:
    """Returns the command that runs a container of the game server's image with this machine's Python.

    Attributes:
        environment: The environment variables that the Dockerfile sets, except variables with paths in the image.
    """

    environment: Mapping[str, str] = {
        "GAMESERVER_HOST": _ALL_ADDRESSES,
        "GAMESERVER_OPS_PORT": "9090",
        "GAMESERVER_PEER_PORT": "8081",
        "GAMESERVER_PORT": "8080",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }

    def __init__(self, releases: Path, authority: Authority, registries: Registries | None) -> None:
        """Create the object.

        Args:
            releases: The folder of the release store.
            authority: The certificate authority that the game servers trust.
            registries: Reads the registries of ECR. Without an emulator of ECR, `registries` is None. Each registry
                then has an image of each release, whose digest is the SHA-256 of the game digest.
        """
        self._games = releases / "game"
        self._authority = authority
        self._registries = registries

    def pull(self, image: str) -> str:
        """Return the digest of an image, `sha256:…`. An image of a registry outside ECR is not checked.

        Raises:
            ImageMissing: the registry does not have the image, or no release has the code of the image.
        """
        match = IMAGE.match(image)
        if match is None:
            return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"
        return self._find(image)[1]

    def recipe(self, container: Container) -> ContainerCommand:
        """Return the command of a container.

        Raises:
            ImageMissing: no release has the image.
        """
        code = self._find(container.image)[0]
        # In the image, /tmp is the working folder and the only folder that the game server can change. HOME names
        # a private folder, so that the game server does not find the operator's files, e.g. ~/.aws.
        folder = container.folder / "tmp"
        folder.mkdir(mode=0o700, exist_ok=True)
        variables = {
            **self.environment,
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(code),
            "TMPDIR": str(folder),
            **self._authority.variables,
            **container.environment,
        }
        # On AWS, a task has its own network interface, and a game server listens at all addresses. On the stage, all
        # tasks share this machine's network, so a game server must listen at the address of its task only.
        environment = {
            name: container.address if value == _ALL_ADDRESSES else value for name, value in variables.items()
        }
        command = container.options.get("command") or ["serve"]
        return ContainerCommand([sys.executable, "-m", "gameserver", *command], environment, folder)

    def _find(self, image: str) -> tuple[Path, str]:
        """Return the folder with the code of an image, and the digest of the image."""
        reference = _REFERENCE.search(image)
        match = IMAGE.match(image)
        missing = ImageMissing(
            f"pull image manifest has been retried 1 time(s): failed to resolve ref {image}: {image}: not found"
        )
        if reference is None or not self._games.is_dir():
            raise missing
        if self._registries is not None and match is not None:
            repository = image[match.end() : reference.start()]
            try:
                pushed = self._registries.image(match["registry"], match["region"], repository, reference)
            except OSError as error:
                raise ImageMissing(f"failed to resolve ref {image}: {error}") from error
            if pushed is None:
                raise missing
            folders = [self._games / tag for tag in pushed.tags if (self._games / tag).is_dir()]
            if not folders:
                raise missing
            return folders[0], pushed.digest
        for folder in self._games.iterdir():
            digest = hashlib.sha256(folder.name.encode()).hexdigest()
            if folder.name == reference["tag"] or digest == reference["digest"]:
                return folder, f"sha256:{digest}"
        raise missing
