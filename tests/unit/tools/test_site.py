from __future__ import annotations

import pytest

from tools import site


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("README.md", "index.md"),
        ("docs/aws.md", "aws.md"),
        ("CONTRIBUTING.md", "CONTRIBUTING.md"),
        ("mjctl/deploy/gate.py", "source/mjctl/deploy/gate.py.txt"),
        ("terraform/modules/keys", "terraform/modules/keys/README.md"),
        ("mjctl/deploy", None),
    ],
)
def test_a_file_has_a_place_in_the_site(path: str, place: str | None) -> None:
    assert site.place(path) == place


def test_every_page_is_staged_without_a_fault(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "STAGE", tmp_path)
    assert site.stage() == []
    page = (site.STAGE / "code-map.md").read_text(encoding="utf-8")
    assert "[`mjctl/deploy/gate.py`](source/mjctl/deploy/gate.py.txt)" in page
    assert (site.STAGE / "source/mjctl/deploy/gate.py.txt").is_file()
