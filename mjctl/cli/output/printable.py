"""Makes text that mjctl has not written safe to show.

Only this module escapes control characters and escape sequences in text for people.

Keys, messages, names, history entries and the output of other programs can contain any character. If mjctl showed such
text without escapes, the text could move the terminal's cursor, change the title, fill the clipboard (OSC 52) or
reorder the shown text.
"""

from __future__ import annotations

import re
import unicodedata

# The Unicode categories of unsafe characters. The category Cc contains control characters. The category Cf contains
# bidirectional overrides, zero-width characters and tag characters. The category Cs contains lone surrogates, which no
# encoding can write. The categories Zl and Zp contain the separators of lines and paragraphs. The category Cn contains
# code points without a character. The category Co contains characters for private use, which have no agreed meaning.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NOT_PLAIN_ASCII = re.compile(r"[^ -~]")


def printable(text: object, *, keep: str = "") -> str:
    r"""Return `text` with every character that is not safe to show written as an escape, such as `\n` or `\x1b`.

    The result has one line, unless `keep` contains a newline. Printable characters of every language stay as they are.

    Args:
        text: Any object; it is converted with `str`.
        keep: Unsafe characters that stay as they are, for example a newline.
    """

    def shown(match: re.Match[str]) -> str:
        character = match[0]
        safe = character in keep or unicodedata.category(character) not in _UNSAFE_CATEGORIES
        return character if safe else _escaped(character)

    return _NOT_PLAIN_ASCII.sub(shown, str(text))


def _escaped(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
