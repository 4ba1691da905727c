"""Generates docs/json-schemas.md, the index of the JSON Schemas in docs/schemas/."""

from __future__ import annotations

from mjctl.cli.output.documents import ERROR, MODELS, json_schema, schema_name
from tools.pages.markdown import head, table

_INTRODUCTION = """
With `--output json` a command prints one document. Its field `schema` is a name and a version, such as
`mjctl.health/2`, and this table has the JSON Schema of each. [JSON](cli.md#json) describes the fields that all
documents share, and the form of values that JSON lacks. All documents have the same version. Accept fields that you do
not know: a later release may add fields without a new version.

`mjctl config schema` prints the schema of an environment's file. [Configuration](configuration.md) shows it as a page.
"""
_COLUMNS = ("command", "document", "fields besides the envelope")
_ENVELOPE = frozenset({"schema", "command", "environment", "regions"})


def page() -> str:
    """Return the whole page."""
    rows = [_row(command) for command in (*MODELS, ERROR)]
    return "\n".join([head("JSON schemas", _INTRODUCTION), table(_COLUMNS, rows)])


def _row(command: str) -> tuple[str, str, str]:
    schema = json_schema(command)
    name = schema["properties"]["schema"]["const"]
    fields = [f"`{field}`" for field in schema["properties"] if field not in _ENVELOPE]
    title = "any command that fails as a whole" if command == ERROR else f"`{command}`"
    return title, f"[`{name}`](schemas/{schema_name(command)}.json)", ", ".join(fields)
