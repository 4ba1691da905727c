"""Reads the list of known differences between the emulated AWS and AWS.

The file known_differences.yaml is a list of entries. An entry has the keys `reason` and `differences`. `differences`
maps a place to a list of differences. A place is `<service> <test> <answer>`, or `<service>.<operation>` for a
violation of botocore's model. A difference is written as its kind and its path, e.g.
`missing $.KeyMetadata.CurrentKeyMaterialId`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

FILE = Path(__file__).parent / "known_differences.yaml"


@dataclass(frozen=True)
class KnownDifference:
    """Describes a difference that the list allows.

    Attributes:
        place: The place of the difference.
        difference: The kind and the path of the difference.
        reason: The reason why the difference is acceptable.
    """

    place: str
    difference: str
    reason: str


class DuplicateDifferenceError(Exception):
    """Reports a difference that the list names twice."""


def load(file: Path = FILE) -> dict[tuple[str, str], KnownDifference]:
    """Return the known differences by place and difference.

    Raises:
        DuplicateDifferenceError: The file names a difference twice.
    """
    known: dict[tuple[str, str], KnownDifference] = {}
    for entry in yaml.safe_load(file.read_text(encoding="utf-8")) or []:
        for place, differences in entry["differences"].items():
            for difference in differences:
                if (place, difference) in known:
                    raise DuplicateDifferenceError(f"{file}: {place}: {difference}")
                known[place, difference] = KnownDifference(place, difference, entry["reason"].strip())
    return known


def unlisted(differences: Mapping[str, Collection[str]], known: Collection[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the differences, by place, that the list does not name."""
    new = {place: [text for text in texts if (place, text) not in known] for place, texts in differences.items()}
    return {place: texts for place, texts in new.items() if texts}


def vanished(
    differences: Mapping[str, Collection[str]], known: Collection[tuple[str, str]], measured: Collection[str]
) -> list[tuple[str, str]]:
    """Return the listed differences that no longer exist.

    Args:
        differences: The differences by place.
        known: The listed differences.
        measured: The services that were measured. The function ignores listed differences of services that
            were not measured.
    """
    return [
        (place, text)
        for place, text in known
        if place.split()[0].split(".")[0] in measured and text not in differences.get(place, ())
    ]
