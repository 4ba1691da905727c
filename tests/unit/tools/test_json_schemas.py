from __future__ import annotations

from pathlib import Path

from mjctl.models.workspace import Workspace
from tools.json_schemas import main, schema_files

SCHEMAS = Workspace.discover(Path(__file__)).project_dir / "docs" / "schemas"


def test_the_published_schemas_agree_with_the_models() -> None:
    assert {file.name: file.read_text() for file in SCHEMAS.iterdir()} == schema_files()


def test_the_schema_of_a_removed_command_is_removed(tmp_path: Path) -> None:
    (tmp_path / "gone.json").write_text("{}")
    main(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(schema_files())
