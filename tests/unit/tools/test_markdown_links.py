from __future__ import annotations

from pathlib import Path

import pytest

from tools.markdown_links import anchors, broken, links, rewritten

TEXT = """\
# One

See [the page](other.md#part "title") and `[no link](in-code.md)`.
A link over [two
lines](second.md). An image: ![map](map.png)

```console
$ cat [none](block.md)
```

## A title, with `code`

## A title, with `code`
"""


def test_links_in_code_are_no_links() -> None:
    assert [(link.line, link.target) for link in links(TEXT)] == [
        (3, "other.md#part"),
        (5, "second.md"),
        (5, "map.png"),
    ]


def test_a_repeated_heading_gets_a_number() -> None:
    assert anchors(TEXT) == {"one", "a-title-with-code", "a-title-with-code-1"}


def test_a_rewritten_text_differs_in_its_targets_only() -> None:
    text = rewritten(TEXT, lambda target: None if target == "second.md" else f"x/{target}")
    assert '[the page](x/other.md#part "title") and `[no link](in-code.md)`.' in text
    assert "A link over two\nlines. An image: ![map](x/map.png)" in text
    assert rewritten(TEXT, lambda target: target) == TEXT


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("b.md", None),
        ("b.md#there", None),
        ("#here", None),
        ("https://example.com/x", None),
        ("c.md", "no such file"),
        ("b.md#elsewhere", "no such heading"),
        ("#elsewhere", "no such heading"),
        ("../../outside.md", "outside of the repository"),
        ("http://example.com", "not an https address"),
    ],
)
def test_a_broken_link_is_reported_with_its_reason(tmp_path: Path, link: str, fault: str | None) -> None:
    (tmp_path / "a.md").write_text(f"# Here\n\n[text]({link})\n")
    (tmp_path / "b.md").write_text("# There\n")
    assert broken(tmp_path / "a.md", tmp_path) == ([f"a.md:3: {link}: {fault}"] if fault else [])
