"""What a release runs on AWS: the functions' archive and the game server's image, both by digest."""

from __future__ import annotations

import hashlib
import json

from mjctl.deploy.aws_inputs import Package
from mjctl.deploy.releases import ReleaseStore
from mjctl.models.environment import Environment
from mjctl.models.errors import NotFoundError
from mjctl.models.release import Release
from mjctl.models.workspace import Workspace


def package_of(workspace: Workspace, environment: Environment, store: ReleaseStore, release: Release) -> Package:
    """The package of `release`, made unless it is there.

    Raises:
        NotFoundError: the image was never pushed.
    """
    from mjctl.package.functions import build_functions, lambda_runtime, local_runtime

    # An emulated Lambda runs functions by this machine's Python.
    runtime = local_runtime() if environment.target == "sandbox" else lambda_runtime()
    functions = build_functions(store.game_dir(release), workspace.home / "packages", runtime)
    return Package(
        path=str(functions.path),
        sha256=functions.sha256_base64,
        architecture=functions.architecture,
        image_digest=_image_digest(workspace, environment, release),
    )


def _image_digest(workspace: Workspace, environment: Environment, release: Release) -> str:
    """64 hexadecimal digits. An emulated AWS runs no image, so its name only has to change with the code."""
    if environment.target == "sandbox":
        return hashlib.sha256(release.game.encode()).hexdigest()
    record = workspace.environment_dir(environment.name) / "image.json"
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["digest"]).removeprefix("sha256:")
    except (OSError, ValueError, KeyError):
        raise NotFoundError(
            "the game server's image was not pushed yet",
            where=str(record),
            hint=f"`mjctl package --push --env {environment.name}` builds and pushes it",
        ) from None
