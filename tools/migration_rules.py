"""Checks that the migrations of PostgreSQL fit a deploy, in which old and new code use the database at the same time.

A deploy runs the migrations before it replaces the code, so the old code must work with the new schema. An *expand
migration* only adds to the schema. A *contract migration* removes from the schema, and sets `contract` to the reason
why no running code uses the removed part. No migration may hold a lock for long.

The check calls `upgrade` of a migration and reads the SQL statements that `upgrade` gives to `op.execute`.

Usage: python -m tools.migration_rules [FOLDER]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

VERSIONS = Path(__file__).parents[1] / "gameserver" / "migrations" / "versions"

_NOT_SQL = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_TEXT = re.compile(r"'(?:[^']|'')*'")
_NAME = r"(?:\"[^\"]+\"|[\w.]+)"

# Statements that break code of the release before, and the reason. Only a contract migration may contain them.
_CONTRACT = (
    (r"\bDROP\s+(TABLE|VIEW|MATERIALIZED|TYPE|SCHEMA|SEQUENCE|FUNCTION|TRIGGER)\b", "removes an object of the schema"),
    (r"^DROP\s+INDEX\b", "removes an index"),
    (r"\bDROP\s+(COLUMN|CONSTRAINT|DEFAULT)\b", "removes a part of a table"),
    (r"^ALTER\s+TABLE\b.*\bDROP\s+(?!NOT\b|IDENTITY\b|EXPRESSION\b)", "removes a part of a table"),
    (r"\bRENAME\b", "renames an object that the old code uses"),
    (r"\bALTER\s+(COLUMN\s+)?\S+\s+(SET\s+DATA\s+)?TYPE\b", "changes the type of a column, and rewrites the table"),
    (r"\bSET\s+NOT\s+NULL\b", "refuses rows of the old code that have no value, and reads the whole table"),
    (r"^(TRUNCATE|DELETE)\b", "removes rows"),
    (r"\bREVOKE\b", "removes a permission"),
)
# Statements that lock a table while PostgreSQL reads or writes the whole table.
_LOCKING = (
    (r"^CLUSTER\b|^VACUUM\s+FULL\b|^REINDEX\b(?!.*\bCONCURRENTLY\b)", "locks a table while PostgreSQL writes it again"),
    (
        r"\bADD\s+(CONSTRAINT\s+\S+\s+)?(FOREIGN\s+KEY|CHECK)\b(?!.*\bNOT\s+VALID\b)",
        "locks a table while PostgreSQL checks each row: add NOT VALID, and validate in the next migration",
    ),
    (
        r"\bADD\s+(CONSTRAINT\s+\S+\s+)?(UNIQUE|PRIMARY\s+KEY)\b(?!.*\bUSING\s+INDEX\b)",
        "locks a table while PostgreSQL builds an index: create the index concurrently, and add USING INDEX",
    ),
)
_ADDED_COLUMN = re.compile(
    rf"\bADD\s+(?:COLUMN\s+)?(?:IF\s+NOT\s+EXISTS\s+)?({_NAME})\s+([^,]*(?:\([^)]*\)[^,]*)*)", re.I
)
_NO_COLUMN = frozenset({"constraint", "foreign", "check", "unique", "primary", "exclude", "value"})
_CREATED_TABLE = re.compile(rf"^CREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?({_NAME})", re.I)
_CREATED_INDEX = re.compile(
    rf"^CREATE\s+(?:UNIQUE\s+)?INDEX\s+(CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?({_NAME})\s+ON\s+(?:ONLY\s+)?({_NAME})",
    re.I,
)
_ALTERED_TABLE = re.compile(rf"^ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?({_NAME})", re.I)
_DEFAULT_CALL = re.compile(r"\bDEFAULT\s+(?!now\s*\()\w+\s*\(", re.I)


@dataclass(frozen=True)
class MigrationFinding:
    """Describes a statement of a migration that breaks a rule.

    Attributes:
        migration: The name of the migration's file without its suffix.
        statement: The first words of the statement, or "" if the finding is about the whole file.
        reason: The rule that the statement breaks.
    """

    migration: str
    statement: str
    reason: str

    def __str__(self) -> str:
        return f"{self.migration}: {f'`{self.statement}` ' if self.statement else ''}{self.reason}"


class _Recorder:
    """Stands for Alembic's `op` while a migration runs, and records the SQL statements."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, bool]] = []
        self.others: list[str] = []
        self._in_transaction = True

    def execute(self, statement: Any) -> None:
        text = _TEXT.sub("''", _NOT_SQL.sub(" ", str(statement)))
        for part in text.split(";"):
            if words := " ".join(part.split()):
                self.statements.append((words, self._in_transaction))

    def get_context(self) -> Any:
        return SimpleNamespace(autocommit_block=self._autocommit)

    @contextmanager
    def _autocommit(self) -> Iterator[None]:
        self._in_transaction = False
        yield
        self._in_transaction = True

    def __getattr__(self, name: str) -> Any:
        self.others.append(name)
        return lambda *_, **__: None


def check(file: Path) -> list[MigrationFinding]:
    """Return the findings of one migration."""
    recorder = _Recorder()
    module: dict[str, Any] = {"__name__": file.stem, "__file__": str(file)}
    # A migration is code of this repository, which the deploy runs too.
    exec(compile(file.read_text(encoding="utf-8"), file, "exec"), module)  # noqa: S102
    module["op"] = recorder
    module["upgrade"]()
    contract, transactional = module.get("contract"), module.get("transactional", True)
    findings = [
        MigrationFinding(file.stem, f"op.{name}", "cannot be checked: use op.execute with SQL")
        for name in recorder.others
    ]
    if contract is not None and not (isinstance(contract, str) and contract.strip()):
        findings.append(
            MigrationFinding(file.stem, "", "`contract` must be the reason why no running code is affected")
        )
    outside = [statement for statement, in_transaction in recorder.statements if not in_transaction]
    if transactional is not (not outside):
        reason = "`transactional = False` and `op.get_context().autocommit_block()` belong together"
        findings.append(MigrationFinding(file.stem, "", reason))
    created: set[str] = set()
    for position, (statement, in_transaction) in enumerate(recorder.statements):
        before = [text for text, _ in recorder.statements[:position]]
        reasons = _reasons(statement, in_transaction=in_transaction, before=before, created=created)
        if contract is None:
            reasons += [f"{reason}: only a contract migration may contain it" for reason in _breaking(statement)]
        findings += [MigrationFinding(file.stem, statement[:60], reason) for reason in reasons]
        if table := _CREATED_TABLE.match(statement):
            created.add(table[1].lower())
    return findings


def check_all(folder: Path = VERSIONS) -> list[MigrationFinding]:
    """Return the findings of all migrations of a folder."""
    return [finding for file in sorted(folder.glob("[0-9]*.py")) for finding in check(file)]


def _breaking(statement: str) -> Iterator[str]:
    if re.match(r"DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS\b", statement, re.I):
        # Each creation of a concurrent index begins with this statement, see `_reasons`.
        return
    reasons = [reason for pattern, reason in _CONTRACT if re.search(pattern, statement, re.I)]
    yield from dict.fromkeys(reasons)


def _reasons(statement: str, *, in_transaction: bool, before: Sequence[str], created: set[str]) -> list[str]:
    """Return the rules that a statement of any migration breaks."""
    reasons = []
    if re.match(r"DO\b|CREATE\s+(OR\s+REPLACE\s+)?(FUNCTION|PROCEDURE)\b|CALL\b", statement, re.I):
        reasons.append("runs code that cannot be checked: write plain SQL statements")
    concurrent = bool(re.match(r"(CREATE|DROP|REINDEX)\b.*\bCONCURRENTLY\b", statement, re.I))
    if concurrent and in_transaction:
        reasons.append("cannot run in a transaction: use op.get_context().autocommit_block() and transactional = False")
    if not concurrent and not in_transaction:
        reasons.append("must be in the transaction, because PostgreSQL could not undo it after an error")
    if index := _CREATED_INDEX.match(statement):
        if not index[1] and index[3].lower() not in created:
            reasons.append("blocks all writes to an existing table while it builds the index: add CONCURRENTLY")
        # https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
        drop = rf"DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS\s+{re.escape(index[2])}$"
        if index[1] and not (before and re.match(drop, before[-1], re.I)):
            reasons.append(
                "leaves an invalid index if it fails, and cannot be repeated: "
                f"run DROP INDEX CONCURRENTLY IF EXISTS {index[2]} before it"
            )
    table = _ALTERED_TABLE.match(statement)
    if table is None or table[1].lower() not in created:
        reasons += [reason for pattern, reason in _LOCKING if re.search(pattern, statement, re.I)]
    if table is not None:
        for name, definition in _ADDED_COLUMN.findall(statement):
            if name.lower() in _NO_COLUMN:
                continue
            required = re.search(r"\bNOT\s+NULL\b|\bPRIMARY\s+KEY\b", definition, re.I)
            if required and not re.search(r"\bDEFAULT\b|\bGENERATED\b", definition, re.I):
                reasons.append("adds a required column without a default, so rows of the old code would be refused")
            # https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES
            if _DEFAULT_CALL.search(definition):
                reasons.append("adds a column whose default calls a function, so PostgreSQL writes the whole table")
    return reasons


def main(arguments: Sequence[str]) -> int:
    """Print the findings. Returns: the exit code, 1 with findings."""
    findings = check_all(Path(arguments[0]) if arguments else VERSIONS)
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
