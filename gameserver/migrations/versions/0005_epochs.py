"""Records the epochs of matches, and which event of which epoch wrote a row.

A worker of the release before writes rows without these values. Such rows are never made void.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

_UPGRADE = (
    """
    CREATE TABLE match_epochs (
        match_id       text NOT NULL REFERENCES matches ON DELETE CASCADE,
        epoch          bigint NOT NULL,
        first_sequence bigint NOT NULL,
        withdrawn      text[] NOT NULL DEFAULT '{}',
        PRIMARY KEY (match_id, epoch)
    )
    """,
    "ALTER TABLE processed_events ADD COLUMN digest bytea",
    "ALTER TABLE matches ADD COLUMN ended_sequence bigint",
    "ALTER TABLE match_players ADD COLUMN joined_sequence bigint",
    "ALTER TABLE match_players ADD COLUMN left_sequence bigint",
    "ALTER TABLE match_events ADD COLUMN epoch bigint NOT NULL DEFAULT 0",
    "ALTER TABLE chat_messages ADD COLUMN epoch bigint NOT NULL DEFAULT 0",
)


def upgrade() -> None:
    """Create the table of epochs, and add the columns."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Delete the table of epochs and the columns."""
    op.execute("ALTER TABLE chat_messages DROP COLUMN epoch")
    op.execute("ALTER TABLE match_events DROP COLUMN epoch")
    op.execute("ALTER TABLE match_players DROP COLUMN left_sequence")
    op.execute("ALTER TABLE match_players DROP COLUMN joined_sequence")
    op.execute("ALTER TABLE matches DROP COLUMN ended_sequence")
    op.execute("ALTER TABLE processed_events DROP COLUMN digest")
    op.execute("DROP TABLE match_epochs")
