"""Generates docs/configuration.md from the model of an environment's file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mjctl.models.environment import Environment
from tools.pages.markdown import anchor, head, plain, table

_INTRODUCTION = """
An environment is a file `configs/<name>.yaml`. This page lists every key of such a file.
`mjctl config validate` checks a file, `mjctl config show` prints it with its defaults, and `mjctl config schema` prints
the JSON Schema from which this page is made. An unknown key is an error. A key below `aws` that has no default here
takes the default of the Terraform variable of the same name.

To change a setting, edit the file, check it with `mjctl config validate`, see the changes with
`mjctl plan --all-regions`, and apply them with `mjctl deploy --all-regions`.

The smallest file:

```yaml
project: arena
target: local
regions:
  us-east-1:
    zones: [us-east-1a, us-east-1b, us-east-1c]
```

`configs/local.yaml`, `configs/sandbox.yaml`, `configs/dev.yaml`, `configs/staging.yaml` and `configs/prod.yaml` are
complete examples. The key `name` does not exist: the file's name is the name of the environment.
"""
_NO_DEFAULT = "required"


@dataclass(frozen=True)
class Part:
    """Describes one mapping of an environment's file.

    Attributes:
        path: dotted path of the mapping in the environment's file, "" for the whole file.
        schema: JSON Schema of the mapping.
    """

    path: str
    schema: dict[str, Any]


def page() -> str:
    """Return the whole page."""
    document = Environment.model_json_schema()
    definitions = document.get("$defs", {})
    parts = list(_parts("", document, definitions))
    places = {part.path: _heading(part.path) for part in parts}
    sections = [_section(part, definitions, places) for part in parts]
    return "\n".join([head("Configuration", _INTRODUCTION), *sections])


def undescribed() -> list[str]:
    """Return the dotted paths of the keys of an environment's file that have no description in the model."""
    document = Environment.model_json_schema()
    definitions = document.get("$defs", {})
    return [
        f"{part.path}.{key}".lstrip(".")
        for part in _parts("", document, definitions)
        for key, schema in _properties(part)
        if not _description(schema, definitions)
    ]


def _heading(path: str) -> str:
    return f"`{path}`" if path else "The file"


def _properties(part: Part) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, schema in part.schema["properties"].items():
        if part.path or key != "name":
            yield key, schema


def _parts(path: str, schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[Part]:
    """Yield the mapping at `path` and all mappings inside it, an outer mapping before its inner mappings."""
    part = Part(path, schema)
    yield part
    for key, child in _properties(part):
        for suffix, definition in _references(child):
            yield from _parts(f"{path}.{key}{suffix}".lstrip("."), definitions[definition], definitions)


def _references(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the JSON Schema definitions of a key's value, each with the suffix of its path: `.NAME` in a map."""
    if "$ref" in schema:
        yield "", schema["$ref"].rsplit("/", 1)[-1]
    for option in [*schema.get("anyOf", []), *schema.get("allOf", [])]:
        yield from _references(option)
    values = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    for value in values:
        if isinstance(value, dict):
            yield from ((f".NAME{suffix}", definition) for suffix, definition in _references(value))


def _section(part: Part, definitions: dict[str, Any], places: dict[str, str]) -> str:
    required = part.schema.get("required", [])
    rows = []
    for key, schema in _properties(part):
        path = f"{part.path}.{key}".lstrip(".")
        target = next((place for place in (path, f"{path}.NAME") if place in places), "")
        name = f"[`{key}`](#{anchor(places[target])})" if target else f"`{key}`"
        default = _NO_DEFAULT if key in required else _default(schema)
        rows.append((name, _type(schema), default, _description(schema, definitions)))
    text = plain(part.schema.get("description", "")) if part.path else ""
    lines = [f"## {_heading(part.path)}", "", *([text, ""] if text else [])]
    return "\n".join([*lines, table(("key", "type", "default", "meaning"), rows)])


def _description(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    text = schema.get("description") or ""
    if not text:
        names = [definition for _, definition in _references(schema)]
        text = next((definitions[name].get("description", "") for name in names), "")
    text = plain(text)
    return text[:1].upper() + text[1:] if text[:1].isalpha() and "://" not in text.split(" ", 1)[0] else text


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    if value in (None, [], {}, "") or isinstance(value, dict):
        return ""
    return f"`{json.dumps(value)}`"


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"] if option.get("type") != "null")
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if "$ref" in schema or "allOf" in schema:
        return "mapping"
    kind = str(schema.get("type", ""))
    if kind == "array":
        return f"list of {_plural(_type(schema['items']))}"
    if kind == "object":
        return "mapping by name"
    name = {"integer": "integer", "number": "number", "boolean": "true or false", "string": "text"}[kind]
    return f"{name}{_limits(schema)}"


def _plural(name: str) -> str:
    return name.replace("text", "texts", 1) if name.startswith("text") else f"{name}s"


def _limits(schema: dict[str, Any]) -> str:
    if "pattern" in schema:
        return f" like `{schema['pattern']}`"
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f", {least:g} to {most:g}"
    return f", at least {least:g}" if least is not None else ""
