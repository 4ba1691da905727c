"""`mjctl config`: the environments' files."""

from __future__ import annotations

from typing import Annotated

import typer

from mjctl.cli.base import EnvOption, OutputFormat, OutputOption, open_environment, open_session

app = typer.Typer(no_args_is_help=True)


@app.command()
def validate(
    env: EnvOption = "local",
    every: Annotated[bool, typer.Option("--all", help="Check every file in configs/.")] = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Check an environment's file; errors name file, line and field.

    Example: mjctl config validate --env local
    """
    from mjctl.models.config_file import environment_names
    from mjctl.models.workspace import Workspace

    session = open_session(output)
    names = environment_names(Workspace.discover()) if every else [env]
    checked = {name: open_environment(name)[1] for name in names}
    lines = [
        f"configs/{name}.yaml is valid: target {found.target}, "
        f"{len(found.regions)} region{'s' if len(found.regions) != 1 else ''}"
        for name, found in checked.items()
    ]
    session.emit(
        "\n".join(lines), data={name: {"valid": True, "target": found.target} for name, found in checked.items()}
    )


@app.command()
def show(env: EnvOption = "local", output: OutputOption = OutputFormat.TEXT) -> None:
    """Show an environment with every default filled in.

    Example: mjctl config show --env local
    """
    import yaml

    session = open_session(output)
    document = open_environment(env)[1].model_dump(mode="json")
    if output is OutputFormat.TEXT:
        session.out.file.write(yaml.safe_dump(document, sort_keys=False))
        return
    session.emit(None, data=document)


@app.command()
def schema() -> None:
    """Print the JSON Schema of an environment's file (editors complete and check with it).

    Example: mjctl config schema > environment.schema.json
    """
    from mjctl.models.environment import Environment

    document = Environment.model_json_schema()
    # The name is the file's own and must not stand in it.
    del document["properties"]["name"]
    document["required"].remove("name")
    open_session(OutputFormat.JSON).emit(None, data=document)
