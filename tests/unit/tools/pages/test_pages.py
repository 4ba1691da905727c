"""The generated pages of the documentation agree with the code, and cover every definition."""

from __future__ import annotations

import pytest

from mjctl.cli.output.documents import MODELS, schema_name
from mjctl.models.exit_codes import ExitCode
from tools.pages import configuration, exit_codes
from tools.pages.__main__ import DOCS, PAGES
from tools.pages.markdown import anchor, plain, table


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_the_generated_page(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `python -m tools.pages`"


def test_every_exit_code_has_troubleshooting_steps() -> None:
    assert set(exit_codes.TROUBLESHOOTING) == set(ExitCode)
    assert [code for code, (_, steps) in exit_codes.TROUBLESHOOTING.items() if code and not steps] == []


def test_every_key_of_the_configuration_has_a_description() -> None:
    assert configuration.undescribed() == []


def test_the_page_of_schemas_links_every_schema() -> None:
    page = PAGES["json-schemas.md"]()
    assert [name for name in MODELS if f"(schemas/{schema_name(name)}.json)" not in page] == []


def test_a_server_metric_has_a_row_with_its_name_and_labels() -> None:
    page = PAGES["metrics.md"]()
    assert "| `gameserver_players` | gauge | |" in page
    assert "| `gameserver_api_requests_total` | counter | `method`, `route`, `status` |" in page


def test_a_nested_key_of_the_configuration_has_a_row_in_its_own_table() -> None:
    page = PAGES["configuration.md"]()
    section = page.split("## `game.modes.NAME`", 1)[1].split("\n## ", 1)[0]
    assert "| `seats` | integer, 1 to 100 | required |" in section


def test_an_anchor_has_lower_case_letters_and_hyphens() -> None:
    assert anchor("9 UNREACHABLE") == "9-unreachable"
    assert anchor("`aws.database`") == "awsdatabase"


def test_a_cell_escapes_what_markdown_would_interpret() -> None:
    assert plain("<project>\n  and `<code>`") == "&lt;project> and `<code>`"
    assert table(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |\n"
