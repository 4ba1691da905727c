"""Make text from outside safe to show: the one place that escapes control characters and escape sequences.

Keys, messages, names, history entries and the output of other programs can contain anything. Written to a terminal as
they are, they could move the cursor, change the title, fill the clipboard (OSC 52) or reorder what a person reads.
"""

from __future__ import annotations

import re
import unicodedata

# Cc: C0 and C1 controls. Cf: bidirectional overrides, zero-width and tag characters. Cs: lone surrogates, which no
# encoding can write. Zl and Zp: line and paragraph separators. Cn covers noncharacters; Co has no agreed meaning.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NOT_PLAIN_ASCII = re.compile(r"[^ -~]")


def printable(text: object, *, keep: str = "") -> str:
    r"""Return `text` with every character that is not safe to show written as an escape, such as `\n` or `\x1b`.

    The result has one line. Printable characters of every language stay as they are.

    Args:
        text: Anything; it is converted with `str`.
        keep: Characters that stay although they are unsafe, for example a newline.
    """

    def shown(match: re.Match[str]) -> str:
        letter = match[0]
        safe = letter in keep or unicodedata.category(letter) not in _UNSAFE_CATEGORIES
        return letter if safe else _escaped(letter)

    return _NOT_PLAIN_ASCII.sub(shown, str(text))


def _escaped(letter: str) -> str:
    code = ord(letter)
    if letter in _SHORT:
        return _SHORT[letter]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
