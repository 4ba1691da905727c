"""Writes the generated pages of docs/ again: `python -m tools.pages`."""

from __future__ import annotations

from pathlib import Path

from tools.pages import alarms, configuration, exit_codes, metrics, modules, schemas

DOCS = Path(__file__).parents[2] / "docs"
# File name of each generated page in docs/ -> the function that returns the page.
PAGES = {
    "alarms.md": alarms.page,
    "configuration.md": configuration.page,
    "exit-codes.md": exit_codes.page,
    "json-schemas.md": schemas.page,
    "metrics.md": metrics.page,
    "modules.md": modules.page,
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
