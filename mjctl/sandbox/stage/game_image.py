"""Runs the game server's image: the kept code of the image's release, with the settings of the Dockerfile.

The sandbox builds no image. The digest of an image is the SHA-256 of the release's game digest, see
mjctl.deploy.releases.release_artifacts. The release store keeps the code of each release in a folder whose name is the
game digest.
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
"""Matches the names of images in a registry of ECR."""

_REFERENCE = re.compile(r"@sha256:(?P<digest>[0-9a-f]{64})$|:(?P<tag>[A-Za-z0-9]+)$")
_ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - the word in a task definition, which becomes the task's address


class GameImage:
    """Turns containers of the game's image into processes of this machine's Python.

    Attributes:
        environment: The variables that the Dockerfile sets, except the paths of the image.
    """

    environment: Mapping[str, str] = {
        "GAMESERVER_HOST": _ALL_ADDRESSES,
        "GAMESERVER_OPS_PORT": "9090",
        "GAMESERVER_PORT": "8080",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }

    def __init__(self, releases: Path, authority: Authority) -> None:
        """Create the recipe.

        Args:
            releases: The folder of the release store.
            authority: The certificate authority that the processes trust.
        """
        self._games = releases / "game"
        self._authority = authority

    def pull(self, image: str) -> str:
        """Return the digest of an image, `sha256:…`. Images of other registries are not checked.

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
        # In the image, /tmp is the working folder and the only folder that the process can change. The process must not
        # find the operator's files, e.g. ~/.aws.
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
        # The containers share this machine's network, so `all addresses` must mean the addresses of the task.
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
