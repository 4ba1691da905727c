"""`mjctl config`: checks and shows the files of the environments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mjctl.cli.group import CommandGroup
from mjctl.cli.options import EnvOption, OutputOption
from mjctl.cli.session import Exit, OutputFormat, open_environment, open_session
from mjctl.models.errors import MjctlError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.models.environment import Environment

app = CommandGroup(no_args_is_help=True, help="Check and show the environments' files in configs/.")


@app.command()
def validate(
    env: EnvOption = "local",
    every: Annotated[bool, typer.Option("--all", help="Check every file in configs/, and ignore --env.")] = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Check an environment's file. An error names file, line and field.

    With --all the command checks every file in configs/ and reports each invalid file. The exit code is 7 if a file is
    invalid.

    Example: mjctl config validate --env local
    """
    from mjctl.cli.output.run_view import print_error
    from mjctl.models.config_file import environment_names, load_environment
    from mjctl.models.workspace import Workspace

    session = open_session(output)
    if not every:
        checked = open_environment(env)[1]
        session.emit(_valid(env, checked), environments=[{"name": env, "valid": True, "target": checked.target}])
        return
    lines: list[str] = []
    entries: list[dict[str, object]] = []
    code = ExitCode.OK
    workspace = Workspace.discover()
    for name in environment_names(workspace):
        try:
            checked = load_environment(workspace, name)
        except MjctlError as error:
            entries.append(_invalid(name, error))
            print_error(error, as_json=False)
            code = ExitCode.CONFIG
        else:
            lines.append(_valid(name, checked))
            entries.append({"name": name, "valid": True, "target": checked.target})
    session.emit("\n".join(lines) or None, environments=entries)
    if code is not ExitCode.OK:
        raise Exit(code)


def _invalid(name: str, error: MjctlError) -> dict[str, object]:
    from mjctl.cli.output.documents.envelope import error_data

    return {"name": name, "valid": False, "error": error_data(error)}


def _valid(name: str, checked: Environment) -> str:
    from mjctl.cli.output.tables import counted

    return f"configs/{name}.yaml is valid: target {checked.target}, {counted(len(checked.regions), 'region')}"


@app.command()
def show(env: EnvOption = "local", output: OutputOption = OutputFormat.TEXT) -> None:
    """Show the settings of an environment, including all defaults.

    Example: mjctl config show --env local
    """
    import yaml

    session = open_session(output)
    document = open_environment(env)[1].model_dump(mode="json")
    if output is OutputFormat.TEXT:
        session.out.file.write(yaml.safe_dump(document, sort_keys=False))
        return
    session.emit(None, settings=document)


@app.command()
def schema() -> None:
    """Print the JSON Schema of an environment's file.

    An editor can use the schema to complete and check the file.

    Example: mjctl config schema > environment.schema.json
    """
    from mjctl.cli.output.json_document import print_json
    from mjctl.models.environment import Environment

    document = Environment.model_json_schema()
    # An environment is named by the name of its file, so the schema does not allow a field `name` in the file.
    del document["properties"]["name"]
    document["required"].remove("name")
    # An editor needs a plain JSON Schema, so the schema is printed without the envelope of mjctl's JSON documents.
    print_json(document, open_session().out.file)
