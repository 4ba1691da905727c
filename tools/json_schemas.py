"""Writes docs/schemas/, with one JSON Schema for each command: `python -m tools.json_schemas docs/schemas`.

A test checks that the files in docs/schemas/ agree with the models of the JSON documents.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mjctl.cli.output.documents import ERROR, MODELS, json_schema, schema_name


def schema_files() -> dict[str, str]:
    """Return the text of each schema file by the file's name."""
    return {f"{schema_name(name)}.json": json.dumps(json_schema(name), indent=2) + "\n" for name in (*MODELS, ERROR)}


def main(folder: Path) -> None:
    """Write the schema files into `folder`, and remove the schemas of commands that no longer exist."""
    files = schema_files()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        if old.name not in files:
            old.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
