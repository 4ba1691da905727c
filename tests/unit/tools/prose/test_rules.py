"""Tests each rule of the lint with a bad and a good sentence."""

from __future__ import annotations

import pytest

from tools.prose.passages import Kind, Passage
from tools.prose.rules import (
    MAX_PARAGRAPH_WORDS,
    MAX_SENTENCE_WORDS,
    PATTERNS,
    findings_in,
    sentences_of,
    starts_with_verb,
)

# A bad and a good sentence for each pattern, in the order of PATTERNS.
EXAMPLES = [
    ("Nobody reads the log.", "No program reads the log."),
    ("The operator is told of the error.", "The error is reported to the operator."),
    ("The watchdog mends the process.", "The watchdog restarts the process."),
    ("The server takes them back.", "The server resumes its matches."),
    ("Each region has a key of its own.", "Each region has its own key."),
    ("The server restarts by itself.", "The server restarts automatically."),
    ("The report lists what is missing.", "The report lists the missing tables."),
    ("What the server sends is lost.", "A message from the server is lost."),
    ("Another region replaces the first one.", "Another region replaces the first region."),
    ("Regions are compared with ones that run.", "Regions are compared with running regions."),
    ("Keys expire, and those are removed.", "Keys expire, and expired keys are removed."),
    ("The plan is old; and so it is refused.", "The plan is old. mjctl refuses old plans."),
    ("The plan is read; the state is read; the run starts.", "The plan and the state are read. The run starts."),
    ("The name speaks for itself.", "The name describes the value."),
    ("The match goes on.", "The match continues."),
    ("The option means all there is.", "The option means every deployed region."),
    ("Show so many lines.", "Show the last COUNT lines."),
    ("The queue moves a letter to the archive.", "The queue moves a message to the archive."),
    ("The file lies in the folder.", "The file is in the folder."),
    ("The server helps itself to a port.", "The server chooses a port."),
]


def page(text: str) -> Passage:
    """Return a passage of a page."""
    return Passage("docs/page.md", 1, Kind.PAGE, text)


def docstring(text: str, name: str = "Room.enter") -> Passage:
    """Return the docstring of an object, or of a module if `name` is ""."""
    return Passage("mjctl/room.py", 1, Kind.DOCSTRING, text, name)


def test_every_pattern_has_an_example() -> None:
    assert len(EXAMPLES) == len(PATTERNS)


@pytest.mark.parametrize(("number", "bad"), list(enumerate(bad for bad, _ in EXAMPLES)))
def test_a_pattern_finds_its_bad_sentence(number: int, bad: str) -> None:
    assert PATTERNS[number][1] in " ".join(finding.advice for finding in findings_in(page(bad)))


@pytest.mark.parametrize("good", [good for _, good in EXAMPLES])
def test_a_good_sentence_has_no_finding(good: str) -> None:
    assert [finding.advice for finding in findings_in(page(good))] == []


def test_code_is_not_checked() -> None:
    assert list(findings_in(page("Write `nobody mends it` into the file."))) == []


def test_a_long_sentence_is_reported_with_its_length() -> None:
    words = " ".join(["word"] * (MAX_SENTENCE_WORDS + 1))
    assert [finding.advice for finding in findings_in(page(f"{words}."))] == [
        f"{MAX_SENTENCE_WORDS + 1} words: split the sentence"
    ]
    assert list(findings_in(page(f"{words.removesuffix(' word')}."))) == []


def test_a_long_paragraph_of_a_page_is_reported() -> None:
    sentences = " ".join(["This sentence has exactly six words."] * (MAX_PARAGRAPH_WORDS // 6 + 1))
    (finding,) = findings_in(page(sentences))
    assert "a paragraph has at most" in finding.advice
    assert list(findings_in(Passage("mjctl/room.py", 1, Kind.COMMENT, sentences))) == []


@pytest.mark.parametrize("text", ["The name of the room.", "Whether the room is full."])
def test_a_docstring_without_a_verb_is_reported(text: str) -> None:
    assert [finding.advice[:31] for finding in findings_in(docstring(text))] == ["begin the docstring with a verb"]


@pytest.mark.parametrize("text", ["Return the name of the room.", "Describes a room.", "Re-read the file."])
def test_a_docstring_with_a_verb_has_no_finding(text: str) -> None:
    assert list(findings_in(docstring(text))) == []


def test_a_module_docstring_may_begin_with_a_noun_but_not_with_a_question_word() -> None:
    assert list(findings_in(docstring("The rooms of a server.", ""))) == []
    (finding,) = findings_in(docstring("What a room does.", ""))
    assert finding.advice == "begin with a noun or a verb, not with `What`"


@pytest.mark.parametrize("word", ["return", "Returns", "carry", "carries", "watches", "Re-read"])
def test_verbs_are_known_in_both_forms(word: str) -> None:
    assert starts_with_verb(word)


@pytest.mark.parametrize("word", ["The", "room", "Whether"])
def test_other_words_are_no_verbs(word: str) -> None:
    assert not starts_with_verb(word)


def test_sentences_end_at_full_stops_items_and_sections() -> None:
    text = "First. Use e.g. one port. Is it?\n\nArgs:\n- an item\n- a second item\nname: a name."
    assert sentences_of(text) == [
        "First.",
        "Use e.g. one port.",
        "Is it?",
        "Args",
        "- an item",
        "- a second item",
        "name: a name.",
    ]


def test_a_finding_has_the_passage_and_a_short_sentence() -> None:
    (finding, *_) = findings_in(page("Nobody " + "reads " * 40 + "it."))
    assert finding.passage.line == 1
    assert len(finding.sentence) == 160


@pytest.mark.parametrize(
    "sentence",
    [
        "The worker moves a message to the dead-letter queue.",
        "A test counts the messages of the dead letter queue.",
        "A name consists of lower-case letters.",
        "A name begins with a letter.",
        "Two bad checks are needed, so that one transient error rejects no region.",
    ],
)
def test_words_of_the_field_are_no_finding(sentence: str) -> None:
    assert list(findings_in(Passage("page.md", 1, Kind.PAGE, sentence))) == []
