"""Defines the rules of docs/writing.md that a program can check, and applies them to passages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.prose.passages import Kind, Passage

MAX_SENTENCE_WORDS = 28
MAX_PARAGRAPH_WORDS = 80
_VERBS = frozenset((Path(__file__).parent / "verbs.txt").read_text().split())

# Each pattern with the advice that is printed for it. A sentence is matched without its code spans.
PATTERNS: tuple[tuple[str, str], ...] = (
    (
        r"\b(nobody|somebody|everybody|whoever|anybody|whatever|no one|someone|everyone)\b",
        "name the person or the program",
    ),
    (
        r"\b(is|are|was|were|be|been|gets?) (told|heard|spared|mended|judged|asked for|taken back)\b",
        "use the field's verb: reported, received, skipped, fixed, evaluated, rolled back",
    ),
    (r"\b(told|heard|spared?|mend(s|ed|ing)?|overlook(s|ed)?|judges?)\b", "use the field's verb"),
    (
        r"\btak(e|es|en|ing) (it|them|its match(es)?) back\b",
        "say what the software does: recovers, resumes, rolls back",
    ),
    (r"\bof (its|their|his|your|one's|our) own\b", "say `its own X`, or which X"),
    (r"\bby (itself|themselves)\b", "say `automatically`, or name the program that does it"),
    (r"\b(what|who) (is|are|was|were) (gone|there|left|missing|needed|asked|wanted)\b", "name the thing"),
    (
        r"(?:^|[.;:,(] )(what|who) [a-z]+(s|ed|ing)?\b(?! (is|are|do|does|did|should|can|will)\b)[^?.]{0,60}"
        r"\b(is|are|was|goes|stays|has|may|must)\b(?![^.]*\?)",
        "name the thing instead of `what` or `who`",
    ),
    (
        r"\b(an?|each|every|any|no|this|that|the|which|other|another|first|last|newest|oldest) one\b"
        r"(?=[.,;:)]|$| (is|was|has|that|which|who|of|in|for|to|by|with|does|gets|ends|and|or|before|after|than)\b)",
        "name the thing instead of `one`",
    ),
    (
        r"(?<!at )(?<!this )\bones?\b(?= (that|who|which|is|has|whose|more|with|in|by|for)\b)",
        "name the thing instead of `one`",
    ),
    (
        r"\b(such|those)\b(?= (is|are|was|were|has|have|may|must|goes|go)\b|[.,;])",
        "name the thing instead of `such` or `those`",
    ),
    (r"; and so\b|, and so (is|are|does|do)\b", "begin a new sentence"),
    (r";[^.;]*;", "split the chain of clauses into sentences"),
    (r"\bstands? for itself\b|\bspeaks? for itself\b", "say it plainly"),
    (r"\b(goes|go|went) on\b", "say `continues`"),
    (r"\ball (there|that) (is|are)\b", "name the things"),
    (r"\b(so|as) many\b(?! as)", "say the number: `the last COUNT lines`"),
    (r"(?<!dead-)(?<!dead )(?<!case )(?<!with a )\bletters?\b(?! (or|and|from|in|[a-z]-)\b)", "say `message`"),
    (r"\b(lies|lie) (in|beside|under|below)\b", "say `is in`"),
    (r"\bhelps? itself\b|\bminds?\b|\bquarrels?\b", "say it plainly"),
)
_FRAGMENT_STARTS = frozenset(
    (
        "what",
        "who",
        "whose",
        "whom",
        "whether",
        "of",
        "how",
        "where",
        "when",
        "that",
        "which",
        "why",
        "all",
        "none",
        "both",
        "as",
        "by",
        "with",
        "without",
        "under",
        "beside",
        "for",
        "from",
        "in",
        "on",
        "at",
        "to",
        "if",
        "since",
        "because",
        "while",
        "so",
        "those",
        "such",
        "one",
        "nothing",
        "everything",
    )
)
_ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|etc|vs|cf|approx|no)\.", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """Describes one broken rule.

    Attributes:
        passage: the passage that breaks the rule.
        sentence: the sentence that breaks the rule, shortened to 160 characters.
        advice: how to change the sentence so that it obeys the rule.
    """

    passage: Passage
    sentence: str
    advice: str


def findings_in(passage: Passage) -> Iterator[Finding]:
    """Yield the broken rules of one passage."""
    text = _without_code(passage.text)
    if passage.kind is Kind.DOCSTRING:
        first = re.match(r"`?([A-Za-z][A-Za-z-]*)", text)
        if first and passage.name and not starts_with_verb(first[1]):
            yield _finding(passage, passage.text, f"begin the docstring with a verb, not with `{first[1]}`")
        if first and not passage.name and first[1].lower() in _FRAGMENT_STARTS:
            yield _finding(passage, passage.text, f"begin with a noun or a verb, not with `{first[1]}`")
    if passage.kind is Kind.PAGE and len(text.split()) > MAX_PARAGRAPH_WORDS:
        yield _finding(
            passage, text, f"a paragraph has at most {MAX_PARAGRAPH_WORDS} words: use a list or two paragraphs"
        )
    for sentence in sentences_of(text):
        words = [word for word in sentence.split() if re.search(r"\w", word)]
        if len(words) > MAX_SENTENCE_WORDS:
            yield _finding(passage, sentence, f"{len(words)} words: split the sentence")
        for pattern, advice in PATTERNS:
            hit = re.search(pattern, sentence, re.IGNORECASE)
            if hit:
                yield _finding(passage, sentence, f"`{hit[0].strip()}`: {advice}")


def sentences_of(text: str) -> list[str]:
    """Split a text into sentences, at the ends of sentences, lines of lists and paragraphs."""
    text = _ABBREVIATIONS.sub(lambda match: match[0].replace(".", "\u2024"), text)
    parts: list[str] = []
    for block in re.split(r"\n\s*\n|\n(?=\w+: )|\n(?=\s*[-*] )", text):
        parts += re.split(r"(?<=[.!?])[\"')]*\s+(?=[\"'(`A-Z0-9])|:\s*$", " ".join(block.split()))
    return [part.replace("\u2024", ".").strip() for part in parts if part and part.strip()]


def starts_with_verb(word: str) -> bool:
    """Return whether `word` is a known verb, in the imperative or the third person."""
    word = word.lower()
    stems = {word, word.removesuffix("s"), word.removesuffix("es")}
    if word.endswith("ies"):
        stems.add(word.removesuffix("ies") + "y")
    if word.startswith("re-"):
        stems.add(word.removeprefix("re-"))
    return bool(stems & _VERBS)


def _without_code(text: str) -> str:
    return re.sub(r"``[^`]*``|`[^`]*`", "`X`", text)


def _finding(passage: Passage, sentence: str, advice: str) -> Finding:
    return Finding(passage, " ".join(sentence.split())[:160], advice)
