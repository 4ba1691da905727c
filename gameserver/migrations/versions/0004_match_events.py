"""Creates the table of the events that the rules of a game declare.

PostgreSQL deletes an event together with its match.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

_UPGRADE = (
    """
    CREATE TABLE match_events (
        match_id    text NOT NULL REFERENCES matches ON DELETE CASCADE,
        sequence    bigint NOT NULL,
        type        text NOT NULL,
        occurred_at timestamptz NOT NULL,
        payload     jsonb NOT NULL,
        PRIMARY KEY (match_id, sequence)
    )
    """,
    "CREATE INDEX match_events_by_type ON match_events (type, occurred_at)",
)


def upgrade() -> None:
    """Create the table."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Delete the table."""
    op.execute("DROP TABLE match_events")
