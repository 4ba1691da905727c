"""Provides the artifacts of a release on AWS: the functions' archive and the game server's image, named by digest."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mjctl.clients.account import open_account
from mjctl.deploy.releases.store import ReleaseStore
from mjctl.models.environment import Environment
from mjctl.models.errors import NotFoundError
from mjctl.models.release import Release
from mjctl.models.workspace import Workspace
from mjctl.package.functions import FunctionPackage, build_functions, lambda_runtime, local_runtime
from mjctl.package.image import Registry, await_copy, manifest_without_layers, push_manifest

# ECR replicates most images within 30 minutes, and small images within some seconds:
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html
_REPLICATION_SECONDS = 300.0


@dataclass(frozen=True)
class Package:
    """Describes the artifacts that a region runs.

    Attributes:
        path: The path of the functions' archive.
        sha256: The SHA-256 of the functions' archive, in base64.
        architecture: The processor architecture of the functions, e.g. `arm64`.
        image_digest: The SHA-256 of the game server's image, as 64 hexadecimal digits.
    """

    path: str
    sha256: str
    architecture: str
    image_digest: str


def functions_of(
    workspace: Workspace, environment: Environment, store: ReleaseStore, release: Release
) -> FunctionPackage:
    """Return the functions' archive of `release`, and build the archive if it does not exist.

    Raises:
        NotFoundError: The release store does not have the game server of `release`.
        DependencyError: This Python has no pip.
        UnreachableError: pip could not download a dependency.
        ConfigError: The functions' archive is larger than Lambda allows.
    """
    # The sandbox's emulated Lambda runs the functions with this machine's Python, so build the archive for this
    # machine.
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
    """Return the artifacts of `release`, and build the functions' archive if it does not exist.

    Args:
        workspace: The checkout, and mjctl's home folder on this machine.
        environment: The environment of the release.
        store: The releases of the environment.
        release: The release.
        foundation: The output `contract` of the stack foundation.
        only_planned: True if the plan will not be applied, so an image that is not pushed yet gets a placeholder
            digest.

    Raises:
        NotFoundError: The game server's image was never pushed, or the release store does not have the game server of
            `release`.
        DependencyError: This Python has no pip.
        UnreachableError: pip could not download a dependency, or AWS does not answer.
        ConfigError: The functions' archive is larger than Lambda allows.
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
    """Return the SHA-256 of the game server's image as 64 hexadecimal digits.

    For the sandbox, return the digest of the image without layers that `provide_image` pushes.
    """
    placeholder = hashlib.sha256(manifest_without_layers(release.game).encode()).hexdigest()
    if environment.target == "sandbox":
        return placeholder
    registry = Registry.of(open_account(workspace, environment), foundation)
    digest = registry.digest(release.game)
    if digest is None and only_planned:
        return placeholder
    if digest is None:
        raise NotFoundError(
            f"the registry has no game server image of this code: {registry.url}:{release.game}",
            where=f"environment {environment.name}",
            hint=f"`mjctl package --push --env {environment.name}` builds and pushes the image",
        )
    return digest.removeprefix("sha256:")


async def provide_image(
    workspace: Workspace,
    environment: Environment,
    release: Release,
    foundation: Mapping[str, Any],
    region: str,
    say: Callable[[str], None],
) -> None:
    """Check that the registry of a region has the game server's image of `release`, before the region is applied.

    The emulated AWS of a sandbox runs no image, so push an image without layers to the primary region's registry.
    On AWS, wait for ECR's replication, and tell the operator by `say`.

    Raises:
        NotFoundError: ECR has not replicated the image to the registry of the region.
        PermissionDeniedError: AWS refused access to the registry.
        UnreachableError: the registry did not answer.
    """
    registry = Registry.of(await asyncio.to_thread(open_account, workspace, environment), foundation)
    seconds = _REPLICATION_SECONDS
    if environment.target == "sandbox":
        await asyncio.to_thread(push_manifest, registry, release.game)
        # The emulated ECR replicates an image during the push.
        seconds = 0.0
    await await_copy(registry.in_region(region), release.game, seconds, say)
