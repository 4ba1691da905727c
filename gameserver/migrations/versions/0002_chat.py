"""Creates the table of chat lines. Chat lines are encrypted with the environment's data key."""

from alembic import op

revision = "0002"
down_revision = "0001"

_UPGRADE = (
    """
    CREATE TABLE chat_messages (
        match_id  text NOT NULL,
        sequence  bigint NOT NULL,
        player_id text NOT NULL,
        sent_at   timestamptz NOT NULL,
        sealed    bytea NOT NULL,
        PRIMARY KEY (match_id, sequence)
    )
    """,
    "CREATE INDEX chat_messages_by_time ON chat_messages USING brin (sent_at)",
)


def upgrade() -> None:
    """Create the table."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Delete the table."""
    op.execute("DROP TABLE chat_messages")
