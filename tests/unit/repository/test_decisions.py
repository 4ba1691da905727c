"""The index of the decision records has the title, the date and the status of each record."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mjctl.models.workspace import Workspace

FOLDER = Workspace.discover(Path(__file__)).project_dir / "docs" / "decisions"
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
RECORDS = sorted(file for file in FOLDER.glob("*.md") if file.name != "README.md")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_record_has_a_row_with_its_date_and_status(record: Path) -> None:
    text = record.read_text(encoding="utf-8")
    title = re.match(r"# (\d{4}): (.+)\n\nDate: (\d{4}-\d\d-\d\d)\. Status: (.+)\.\n\n", text)
    assert title, "a record begins with `# NUMBER: TITLE`, and then `Date: YYYY-MM-DD. Status: STATUS.`"
    assert record.name.startswith(f"{title[1]}-")
    assert re.search(
        rf"^\| \[{title[1]}\]\({record.name}\) \| .+ \| {title[3]} \| {re.escape(title[4])} \|$", INDEX, re.M
    )


def test_the_numbers_have_no_gap() -> None:
    assert [file.name[:4] for file in RECORDS] == [f"{number:04}" for number in range(1, len(RECORDS) + 1)]
    assert len(re.findall(r"^\| \[\d{4}\]", INDEX, re.MULTILINE)) == len(RECORDS)
