"""Reads the links and the anchors of Markdown files.

A link inside a code block or a code span does not count. The anchor of a heading follows GitHub's rule: the anchor
of the second heading with an equal text gets the suffix `-1`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.pages.markdown import anchor

_FENCE = re.compile(r"^ *(```+|~~~+)")
_LABEL = r"\[(?:[^\[\]]|\[[^\[\]]*\](?:\([^()]*\))?)*\]"
_LINK = re.compile(rf"(?P<label>!?{_LABEL})\((?P<target>[^()\s]+)(?P<title> \"[^\"]*\")?\)")
_HEADING = re.compile(r"^(#{1,6}) +(.*?) *#*$")
_EXPLICIT = re.compile(r"""<a (?:id|name)=["']([^"']+)["']""")
_ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


@dataclass(frozen=True)
class Link:
    """Describes one link of a file.

    Attributes:
        line: line number in the file, counted from 1.
        target: the address of the link, as the file contains it.
    """

    line: int
    target: str

    @property
    def is_external(self) -> bool:
        """Return whether the link leaves the repository, such as `https://...` or `mailto:...`."""
        return bool(_ELSEWHERE.match(self.target))

    @property
    def path(self) -> str:
        """Return the path of the linked file, or "" for an anchor in the file itself."""
        return self.target.partition("#")[0]

    @property
    def fragment(self) -> str:
        """Return the anchor to which the link points, or "" without an anchor."""
        return self.target.partition("#")[2]


def links(text: str) -> list[Link]:
    """Return the links of a Markdown text in their order."""
    masked = _without_code(text)
    return [Link(masked.count("\n", 0, match.start("target")) + 1, match["target"]) for match in _LINK.finditer(masked)]


def rewritten(text: str, change: Callable[[str], str | None]) -> str:
    """Return the text, with `change` applied to the address of every link.

    If `change` returns None, the link is removed and its text is kept.
    """
    for match in reversed(list(_LINK.finditer(_without_code(text)))):
        target = change(match["target"])
        label = text[match.start("label") : match.end("label")]
        new = label.removeprefix("!")[1:-1] if target is None else f"{label}({target}{match['title'] or ''})"
        text = text[: match.start()] + new + text[match.end() :]
    return text


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings of a Markdown text, and the anchors that the text sets explicitly."""
    seen: Counter[str] = Counter()
    names = set(_EXPLICIT.findall(text))
    for _, line, is_code in _lines(text):
        match = None if is_code else _HEADING.match(line)
        if match:
            name = anchor(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[2]))
            names.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return names


def broken(file: Path, root: Path) -> list[str]:
    """Return the faults of the links in a file: `file:line: target: reason` for each broken link."""
    text = file.read_text(encoding="utf-8")
    faults = []
    for link in links(text):
        reason = _fault(link, file, root)
        if reason:
            faults.append(f"{file.relative_to(root)}:{link.line}: {link.target}: {reason}")
    return faults


def _fault(link: Link, file: Path, root: Path) -> str | None:
    if link.is_external:
        return None if re.match(r"^(https://|mailto:)[^\s]+\.[^\s]+$", link.target) else "not an https address"
    target = (file.parent / link.path).resolve() if link.path else file
    if not target.is_relative_to(root.resolve()):
        return "outside of the repository"
    if not target.exists():
        return "no such file"
    if link.fragment and target.suffix == ".md" and link.fragment not in anchors(target.read_text(encoding="utf-8")):
        return "no such heading"
    return None


def _lines(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield number and text of each line, and whether the line belongs to a code block."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        match = _FENCE.match(line)
        if match and (not fence or line.strip() == fence):
            fence = "" if fence else match[1]
            yield number, line, True
        else:
            yield number, line, bool(fence)


def _without_code(text: str) -> str:
    """Return the text with each character of code replaced by a dot, which keeps the positions of the links."""
    lines = [re.sub(r"[^\n]", "·", line) if is_code else line for _, line, is_code in _lines(text)]
    masked = "\n".join(lines) + ("\n" if text.endswith("\n") else "")
    return re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", lambda span: re.sub(r"[\[\]()]", "·", span[0]), masked)
