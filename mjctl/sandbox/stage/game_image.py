"""Runs containers of the game server's image: the code of a release with the settings of the Dockerfile.

The sandbox builds no image. The release store has a folder with the code of each release. The name of a release's
folder is the game digest, the digest of the release's game server. The SHA-256 of the game digest serves as the image's
digest (mjctl.deploy.releases.release_artifacts).
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from mjctl.sandbox.stage.authority import Authority
from mjctl.sandbox.stage.containers import Container, ContainerCommand, ImageMissing

IMAGE = re.compile(r"^\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com/")
"""Matches the names of images in registries of ECR."""

_REFERENCE = re.compile(r"@sha256:(?P<digest>[0-9a-f]{64})$|:(?P<tag>[A-Za-z0-9]+)$")
_ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - the word in a task definition, which becomes the task's address


class GameImage:
    """Returns the command that runs a container of the game server's image with this machine's Python.

    Attributes:
        environment: The environment variables that the Dockerfile sets, except variables with paths in the image.
    """

    environment: Mapping[str, str] = {
        "GAMESERVER_HOST": _ALL_ADDRESSES,
        "GAMESERVER_OPS_PORT": "9090",
        "GAMESERVER_PORT": "8080",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }

    def __init__(self, releases: Path, authority: Authority) -> None:
        """Create the object.

        Args:
            releases: The folder of the release store.
            authority: The certificate authority that the game servers trust.
        """
        self._games = releases / "game"
        self._authority = authority

    def pull(self, image: str) -> str:
        """Return the digest of an image, `sha256:…`. An image of a registry outside ECR is not checked.

        Raises:
            ImageMissing: no release has the image.
        """
        name = self._code(image).name if IMAGE.match(image) else image
        return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"

    def recipe(self, container: Container) -> ContainerCommand:
        """Return the command of a container.

        Raises:
            ImageMissing: no release has the image.
        """
        code = self._code(container.image)
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

    def _code(self, image: str) -> Path:
        reference = _REFERENCE.search(image)
        if reference and self._games.is_dir():
            for folder in self._games.iterdir():
                digest = hashlib.sha256(folder.name.encode()).hexdigest()
                if folder.name == reference["tag"] or digest == reference["digest"]:
                    return folder
        raise ImageMissing(
            f"pull image manifest has been retried 1 time(s): failed to resolve ref {image}: {image}: not found"
        )
