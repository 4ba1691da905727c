"""Draws sentences at random, so that a reader can say in other words what each means.

Usage: python -m tools.prose.sample --seed 7. It prints 20 comments, 20 docstrings and 20 sentences from help texts and
docs, each with its place. The same seed on the same files draws the same sentences.
"""

from __future__ import annotations

import argparse
import random
import sys

from tools.prose.passages import Kind, all_passages
from tools.prose.rules import sentences_of

_SHORTEST_WORDS = 4
_GROUPS = {
    "comment": (Kind.COMMENT,),
    "docstring": (Kind.DOCSTRING,),
    "help and docs": (Kind.MESSAGE, Kind.PAGE),
}


def draw(seed: int, count: int) -> list[tuple[str, str, str]]:
    """Draw `count` sentences of each group.

    Returns:
        (group, place, sentence) for each. A place is `file:line`, and for a docstring the documented object.
    """
    drawn: list[tuple[str, str, str]] = []
    passages = list(all_passages())
    chance = random.Random(seed)
    for group, kinds in _GROUPS.items():
        sentences = [
            (group, f"{passage.file}:{passage.line}" + (f" ({passage.name})" if passage.name else ""), sentence)
            for passage in passages
            if passage.kind in kinds
            for sentence in sentences_of(passage.text)
            if len(sentence.split()) >= _SHORTEST_WORDS
        ]
        drawn += chance.sample(sentences, min(count, len(sentences)))
    return drawn


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=20, help="sentences of each group")
    arguments = parser.parse_args()
    for number, (group, place, sentence) in enumerate(draw(arguments.seed, arguments.count), 1):
        sys.stdout.write(f"{number:2} {group} | {place}\n   {sentence}\n")
