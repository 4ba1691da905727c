"""Tests the rules for migrations with statements that break them, and checks the migrations of the game."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.migration_rules import check, check_all, main

# The table `matches` had no rows on AWS when this migration was written, so its index blocked no player.
WAIVED = {"0003_internal": "blocks all writes to an existing table"}

BROKEN = {
    "DROP TABLE matches": "removes an object",
    "DROP INDEX matches_by_end": "removes an index",
    "ALTER TABLE matches DROP COLUMN mode": "removes a part",
    "ALTER TABLE matches DROP mode": "removes a part",
    "ALTER TABLE matches ALTER COLUMN state DROP DEFAULT": "removes a part",
    "ALTER TABLE matches RENAME COLUMN mode TO kind": "renames",
    "ALTER TABLE matches RENAME TO games": "renames",
    "ALTER INDEX matches_by_end RENAME TO x": "renames",
    "ALTER TABLE matches ALTER COLUMN seats TYPE bigint": "changes the type",
    "ALTER TABLE matches ALTER seats SET DATA TYPE bigint": "changes the type",
    "ALTER TABLE matches ALTER COLUMN mode SET NOT NULL": "refuses rows",
    "TRUNCATE matches": "removes rows",
    "DELETE FROM matches": "removes rows",
    "REVOKE SELECT ON matches FROM game_app": "removes a permission",
    "ALTER TABLE matches ADD COLUMN level int NOT NULL": "without a default",
    "ALTER TABLE matches ADD COLUMN a int, ADD level int NOT NULL": "without a default",
    "ALTER TABLE matches ADD COLUMN id uuid DEFAULT gen_random_uuid()": "calls a function",
    "ALTER TABLE matches ADD CONSTRAINT c CHECK (seats > 0)": "NOT VALID",
    "ALTER TABLE matches ADD FOREIGN KEY (mode) REFERENCES modes": "NOT VALID",
    "ALTER TABLE matches ADD CONSTRAINT u UNIQUE (server_id)": "USING INDEX",
    "CREATE INDEX i ON matches (mode)": "add CONCURRENTLY",
    "CREATE INDEX CONCURRENTLY i ON matches (mode)": "cannot run in a transaction",
    "REINDEX TABLE matches": "locks a table",
    "DO $$ BEGIN EXECUTE 'DROP TABLE matches'; END $$": "cannot be checked",
    "CREATE TABLE t (id int); /* later */ DROP TABLE matches": "removes an object",
}
ALLOWED = (
    "ALTER TABLE matches ADD COLUMN level int",
    "ALTER TABLE matches ADD COLUMN level int NOT NULL DEFAULT 0, ADD COLUMN at timestamptz NOT NULL DEFAULT now()",
    "ALTER TABLE matches ALTER COLUMN mode DROP NOT NULL",
    "ALTER TABLE matches ADD CONSTRAINT c CHECK (seats > 0) NOT VALID; ALTER TABLE matches VALIDATE CONSTRAINT c",
    "ALTER TABLE matches ADD CONSTRAINT u UNIQUE USING INDEX i",
    "CREATE TABLE t (id int NOT NULL PRIMARY KEY); CREATE INDEX i ON t (id); ALTER TABLE t ADD CHECK (id > 0)",
    "INSERT INTO matches VALUES ('DROP TABLE matches') -- DROP TABLE matches",
    "GRANT SELECT ON matches TO game_app",
)
AUTOCOMMIT = "    with op.get_context().autocommit_block():\n"


def migration(folder: Path, *statements: str, head: str = "", block: str = "") -> Path:
    """Write a migration with SQL statements, and return its file."""
    indent = "        " if block else "    "
    body = "".join(f"{indent}op.execute({statement!r})\n" for statement in statements)
    file = folder / "0005_new.py"
    file.write_text(f"from alembic import op\n{head}\ndef upgrade():\n{block}{body}")
    return file


@pytest.mark.parametrize("statement", BROKEN)
def test_an_expand_migration_must_not_break_the_old_code_or_lock_a_table(tmp_path: Path, statement: str) -> None:
    findings = [str(finding) for finding in check(migration(tmp_path, statement))]
    assert findings
    assert any(BROKEN[statement] in finding for finding in findings), findings
    assert all(finding.startswith("0005_new: ") for finding in findings)


@pytest.mark.parametrize("statement", ALLOWED)
def test_an_expand_migration_may_add_to_the_schema(tmp_path: Path, statement: str) -> None:
    assert check(migration(tmp_path, statement)) == []


def test_a_contract_migration_may_remove_from_the_schema(tmp_path: Path) -> None:
    drop = "ALTER TABLE matches DROP COLUMN mode"
    assert check(migration(tmp_path, drop, head='contract = "no code since 2.1 reads matches.mode"')) == []
    reasons = [finding.reason for finding in check(migration(tmp_path, drop, head="contract = True"))]
    assert reasons == ["`contract` must be the reason why no running code is affected"]


def test_a_contract_migration_must_not_lock_a_table(tmp_path: Path) -> None:
    file = migration(tmp_path, "CREATE INDEX i ON matches (mode)", head='contract = "a reason"')
    assert [finding.statement for finding in check(file)] == ["CREATE INDEX i ON matches (mode)"]


def test_a_concurrent_index_needs_a_migration_without_a_transaction_that_can_be_repeated(tmp_path: Path) -> None:
    drop, create = "DROP INDEX CONCURRENTLY IF EXISTS i", "CREATE INDEX CONCURRENTLY i ON matches (mode)"
    head = "transactional = False"
    assert check(migration(tmp_path, drop, create, head=head, block=AUTOCOMMIT)) == []
    cases = {
        "leaves an invalid index": migration(tmp_path / "a", create, head=head, block=AUTOCOMMIT),
        "belong together": migration(tmp_path / "b", drop, create, block=AUTOCOMMIT),
        "must be in the transaction": migration(tmp_path / "c", "CREATE TABLE t (id int)", head=head, block=AUTOCOMMIT),
    }
    for reason, file in cases.items():
        assert any(reason in finding.reason for finding in check(file)), reason


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()


def test_other_operations_cannot_be_checked(tmp_path: Path) -> None:
    file = tmp_path / "0005_new.py"
    file.write_text("from alembic import op\ndef upgrade():\n    op.drop_column('matches', 'mode')\n")
    assert [finding.statement for finding in check(file)] == ["op.drop_column"]


def test_the_command_prints_the_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    migration(tmp_path, "DROP TABLE matches")
    assert main([str(tmp_path)]) == 1
    assert "0005_new: `DROP TABLE matches` removes an object" in capsys.readouterr().out


def test_the_migrations_of_the_game_fit_a_deploy() -> None:
    findings = [
        finding for finding in check_all() if not finding.reason.startswith(WAIVED.get(finding.migration, "no waiver"))
    ]
    assert findings == []
