"""What a release runs on AWS: the functions' archive and the game server's image, both by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mjctl.clients.account import open_account
from mjctl.deploy.releases.store import ReleaseStore
from mjctl.models.environment import Environment
from mjctl.models.errors import NotFoundError
from mjctl.models.release import Release
from mjctl.models.workspace import Workspace
from mjctl.package.functions import FunctionPackage, build_functions, lambda_runtime, local_runtime
from mjctl.package.image import Registry


@dataclass(frozen=True)
class Package:
    """The code that a region runs: the functions' archive with its SHA-256 in base64, and the image by digest."""

    path: str
    sha256: str
    architecture: str
    image_digest: str


def functions_of(
    workspace: Workspace, environment: Environment, store: ReleaseStore, release: Release
) -> FunctionPackage:
    """The functions' archive of `release`, made unless it is there.

    Raises: as build_functions.
    """
    # An emulated Lambda runs functions by this machine's Python.
    runtime = local_runtime() if environment.target == "sandbox" else lambda_runtime()
    return build_functions(store.game_dir(release), workspace.home / "packages", runtime)


def package_of(
    workspace: Workspace,
    environment: Environment,
    store: ReleaseStore,
    release: Release,
    foundation: Mapping[str, Any],
    *,
    only_planned: bool = False,
) -> Package:
    """The package of `release`; `foundation` is that stack's contract.

    `only_planned`: nobody will apply it, so an image that is not pushed yet may have a made-up digest.

    Raises:
        NotFoundError: the image was never pushed.
        As build_functions.
    """
    functions = functions_of(workspace, environment, store, release)
    return Package(
        path=str(functions.path),
        sha256=functions.sha256_base64,
        architecture=functions.architecture,
        image_digest=_image_digest(workspace, environment, release, foundation, only_planned=only_planned),
    )


def _image_digest(
    workspace: Workspace,
    environment: Environment,
    release: Release,
    foundation: Mapping[str, Any],
    *,
    only_planned: bool,
) -> str:
    """64 hexadecimal digits. An emulated AWS runs no image, so its name only has to change with the code."""
    made_up = hashlib.sha256(release.game.encode()).hexdigest()
    if environment.target == "sandbox":
        return made_up
    registry = Registry.of(open_account(workspace, environment), foundation)
    digest = registry.digest(release.game)
    if digest is None and only_planned:
        return made_up
    if digest is None:
        raise NotFoundError(
            f"the game server's image of this code was not pushed yet: {registry.url}:{release.game}",
            where=f"environment {environment.name}",
            hint=f"`mjctl package --push --env {environment.name}` builds and pushes it",
        )
    return digest.removeprefix("sha256:")
