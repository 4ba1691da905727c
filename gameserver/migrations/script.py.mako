"""${message}"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
# A migration that removes from the schema: contract = "the reason why no running code uses the removed part"
# A migration that creates an index concurrently: transactional = False


def upgrade() -> None:
    """Change the schema."""
    for statement in ():
        op.execute(statement)


def downgrade() -> None:
    """Undo the change."""
    for statement in ():
        op.execute(statement)
