"""The specification of a process survives its file, and refuses what it does not know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mjctl.local.layout import Layout
from mjctl.local.spec import ProcessSpec, all_recorded, recorded
from mjctl.models.errors import ConfigError


def spec(region_dir: Path, name: str = "api") -> ProcessSpec:
    return ProcessSpec(
        name=name,
        kind="gameserver",
        owner="one",
        region_dir=region_dir,
        port=8080,
        ready="http://127.0.0.1:8080/readyz",
        live="http://127.0.0.1:8080/healthz",
        arguments=("api",),
        environment={"GAMESERVER_REGION": "us-east-1"},
    )


def test_what_was_recorded_is_read_back(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    spec(tmp_path).record()
    spec(tmp_path, "worker").record()
    assert recorded(layout, "api") == spec(tmp_path)
    assert [one.name for one in all_recorded(layout)] == ["api", "worker"]


def test_a_damaged_record_is_as_good_as_none(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    (layout.programs / "api.json").write_text('{"name": "api"}')
    assert recorded(layout, "api") is None
    assert all_recorded(layout) == []


@pytest.mark.parametrize("change", [{"colour": "red"}, {"region_dir": None}, {"arguments": 7}])
def test_a_specification_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    values = {**json.loads(spec(tmp_path).serialise()), **change}
    with pytest.raises(ConfigError, match="does not fit"):
        ProcessSpec.parse(json.dumps(values))
