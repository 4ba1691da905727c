"""Creates the tables of matches, results and statistics, and the table of the ids of stored events."""

from alembic import op

revision = "0001"
down_revision = None

_UPGRADE = (
    """
    CREATE TABLE matches (
        match_id    text PRIMARY KEY,
        region      text NOT NULL,
        server_id   text NOT NULL,
        state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'ended')),
        mode        text,
        seats       integer,
        reason      text,
        started_at  timestamptz,
        ended_at    timestamptz,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        CHECK (state <> 'ended' OR ended_at IS NOT NULL)
    )
    """,
    "CREATE INDEX matches_by_end ON matches (ended_at) WHERE state = 'ended'",
    """
    CREATE TABLE match_players (
        match_id       text NOT NULL REFERENCES matches ON DELETE CASCADE,
        player_id      text NOT NULL,
        display_name   text,
        joined_at      timestamptz,
        left_at        timestamptz,
        score          bigint NOT NULL DEFAULT 0,
        score_sequence bigint,
        rank           integer,
        PRIMARY KEY (match_id, player_id)
    )
    """,
    "CREATE INDEX match_players_by_player ON match_players (player_id)",
    """
    CREATE TABLE player_stats (
        player_id   text PRIMARY KEY,
        matches     bigint NOT NULL DEFAULT 0,
        wins        bigint NOT NULL DEFAULT 0,
        total_score bigint NOT NULL DEFAULT 0,
        best_score  bigint NOT NULL DEFAULT 0,
        updated_at  timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX player_stats_by_score ON player_stats (total_score DESC, player_id)",
    """
    CREATE TABLE processed_events (
        event_id     text PRIMARY KEY,
        processed_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX processed_events_by_time ON processed_events USING brin (processed_at)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Delete the tables."""
    for table in ("processed_events", "player_stats", "match_players", "matches"):
        op.execute(f"DROP TABLE {table}")
