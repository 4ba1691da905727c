"""Tests that the specification of a process is written and read unchanged, and rejected if it is invalid."""

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


def test_a_recorded_specification_is_read_unchanged(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    spec(tmp_path).record()
    spec(tmp_path, "worker").record()
    assert recorded(layout, "api") == spec(tmp_path)
    assert [item.name for item in all_recorded(layout)] == ["api", "worker"]


def test_a_damaged_record_counts_as_no_record(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    (layout.programs / "api.json").write_text('{"name": "api"}')
    assert recorded(layout, "api") is None
    assert all_recorded(layout) == []


@pytest.mark.parametrize("change", [{"colour": "red"}, {"region_dir": None}, {"arguments": 7}])
def test_an_invalid_specification_is_rejected(tmp_path: Path, change: dict[str, object]) -> None:
    values = {**json.loads(spec(tmp_path).serialise()), **change}
    with pytest.raises(ConfigError, match="the specification of a process is invalid"):
        ProcessSpec.parse(json.dumps(values))
