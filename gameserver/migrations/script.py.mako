"""${message}"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Change the schema."""
    for statement in ():
        op.execute(statement)


def downgrade() -> None:
    """Undo the change."""
    for statement in ():
        op.execute(statement)
