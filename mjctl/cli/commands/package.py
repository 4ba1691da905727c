"""`mjctl package`: builds the archive of the Lambda functions and the image of the game server."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mjctl.cli.deploy_run import Run, open_run
from mjctl.cli.options import EnvOption, OutputOption
from mjctl.cli.session import OutputFormat
from mjctl.models.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from mjctl.models.release import Release
    from mjctl.package.functions import FunctionPackage
    from mjctl.package.image import Image


def package(
    env: EnvOption = "local",
    push: Annotated[
        bool, typer.Option("--push", help="Also build the game server's image with Docker and push it to the registry.")
    ] = False,
    python_image: Annotated[
        str | None,
        typer.Option(
            "--python-image",
            metavar="IMAGE",
            help="Base image of the game server's image, such as python:3.13-slim@sha256:... Default: the base image "
            "that the Dockerfile names.",
        ),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Build the Lambda archive; with --push also the server image.

    The same code gives the same archive. An image that the registry has already is not built again. The command does
    not deploy the archive or the image. A sandbox runs no image: there, --push stores the image's name in the
    registries of all regions.

    Example: mjctl package --env staging --push
    """
    from mjctl.deploy.releases.release_artifacts import functions_of

    run = open_run("package", env, output)
    if run.environment.target == "local":
        raise UsageError(
            f"environment `{env}` needs no package, because its target `local` runs the code of this checkout",
            where=f"configs/{env}.yaml: target local",
            hint="use --env with an environment whose target is aws or sandbox",
        )
    release = run.store.of_working_tree()
    run.store.keep(release)
    functions = functions_of(run.workspace, run.environment, run.store, release)
    image = _pushed(run, release, python_image) if push else None
    _emit(run, release, functions, image)


def _pushed(run: Run, release: Release, python_image: str | None) -> Image:
    from mjctl.clients.account import open_account
    from mjctl.models.environment import FOUNDATION
    from mjctl.package.image import Registry, push_image, push_manifest, record
    from mjctl.terraform.contracts import shared_contracts

    foundation = shared_contracts(run.workspace, run.environment).get(FOUNDATION)
    if foundation is None:
        raise NotFoundError(
            "there is no registry to push to, because the stack foundation is not deployed",
            where=f"environment {run.environment.name}",
            hint=f"`mjctl deploy --env {run.environment.name} --all-regions` creates the registry first, then reports "
            f"that the image is missing; after that, repeat `mjctl package --push`",
        )
    registry = Registry.of(open_account(run.workspace, run.environment), foundation)
    if run.environment.target == "sandbox":
        # An emulated AWS runs no image. Push to all regions, because ECR does not replicate an image to a region that
        # the environment got after the push of the image.
        image = push_manifest(registry, release.game)
        for region in run.environment.regions:
            push_manifest(registry.in_region(region), release.game)
        return image
    folder = run.workspace.environment_dir(run.environment.name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "image.log").open("w", encoding="utf-8") as log:
        run.session.say(f"building {registry.url}:{release.game}: Docker's output goes to {log.name}")
        dockerfile, source = run.workspace.project_dir / "Dockerfile", run.store.game_dir(release)
        image = push_image(registry, dockerfile, source, release.game, log, python_image)
    record(folder, image)
    return image


def _emit(run: Run, release: Release, functions: FunctionPackage, image: Image | None) -> None:
    from mjctl.cli.output.tables import Column, DataTable, human_bytes

    table = DataTable(
        Column("PART"),
        Column("STATE", 1),
        Column("SIZE", 2, right=True),
        Column("DIGEST", 3),
        Column("WHERE", folds=True),
    )
    size = human_bytes(functions.zipped_bytes)
    table.add_row("functions", _state(functions.built), size, functions.sha256_base64, str(functions.path))
    pushed = None
    if image is not None:
        table.add_row("image", _state(image.pushed), "", image.digest, image.repository)
        pushed = image_fields(image)
    run.session.emit(table, revision=release.game, functions=functions_fields(functions), image=pushed)


def _state(built: bool) -> str:
    return "built" if built else "exists already"


def functions_fields(functions: FunctionPackage) -> dict[str, object]:
    """Return the fields of the functions' archive in the JSON document. `made` is the published name of `built`."""
    fields = asdict(functions)
    built = fields.pop("built")
    return {**fields, "path": str(functions.path), "made": built}


def image_fields(image: Image) -> dict[str, object]:
    """Return the fields of the image in the JSON document. `made` is the published name of `pushed`."""
    fields = asdict(image)
    pushed = fields.pop("pushed")
    return {**fields, "reference": image.reference, "made": pushed}
