"""Separates the matches and statistics of probe and load-test accounts from the matches and statistics of players."""

from alembic import op

revision = "0003"
down_revision = "0002"

_UPGRADE = (
    "ALTER TABLE matches ADD COLUMN internal boolean NOT NULL DEFAULT false",
    "CREATE INDEX matches_internal_by_time ON matches (recorded_at) WHERE internal",
    """
    CREATE TABLE internal_stats (
        player_id   text PRIMARY KEY,
        matches     bigint NOT NULL DEFAULT 0,
        wins        bigint NOT NULL DEFAULT 0,
        total_score bigint NOT NULL DEFAULT 0,
        best_score  bigint NOT NULL DEFAULT 0,
        updated_at  timestamptz NOT NULL DEFAULT now()
    )
    """,
)


def upgrade() -> None:
    """Mark internal matches, and create the table of internal statistics."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Remove the mark of internal matches and the table of internal statistics."""
    op.execute("DROP TABLE internal_stats")
    op.execute("ALTER TABLE matches DROP COLUMN internal")
