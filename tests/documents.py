"""Read the JSON documents of mjctl, and check each against the schema that docs/schemas/ publishes for it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).resolve().parents[1] / "docs" / "schemas"


@cache
def validator(name: str) -> Draft202012Validator:
    """Return the validator of a published schema, such as `cache-stats`."""
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


def read_document(text: str) -> Any:
    """Return the JSON document in `text`. The document must fit the schema that the document names."""
    document = json.loads(text)
    name = document["schema"].removeprefix("mjctl.").partition("/")[0]
    problems = [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(document)]
    assert problems == [], f"{document['schema']}: {problems}"
    return document


def rows(document: Any, name: str) -> list[Any]:
    """Return the entries that each region of a document lists under `name`, each entry with its region."""
    return [{"region": entry["region"], **row} for entry in document["regions"] for row in entry.get(name, ())]
