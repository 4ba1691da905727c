"""What players said in a match, sealed: who may open it needs the environment's data key."""

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
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE chat_messages")
