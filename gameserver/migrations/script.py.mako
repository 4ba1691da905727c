"""${message}"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    for statement in ():
        op.execute(statement)


def downgrade() -> None:
    for statement in ():
        op.execute(statement)
