"""Creates the users of PostgreSQL with which the functions of the game and the backup task use the database.

Both users log in by IAM, without a password. The user of the functions can read and change rows only. The user of the
backup task can read rows, and create databases for drills. The master user owns the tables.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

# The members of this role log in by IAM. The role exists on Amazon RDS and Aurora only:
# https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.DBAccounts.html
_IAM_ROLE = "rds_iam"


def create_application_user(connection: Connection, user: str) -> None:
    """Create a user that logs in by IAM, and let the user use all present and later tables of the schema `public`.

    `create_application_user` does nothing in a database that does not support logins by IAM, such as the database of a
    local region. A repeated call changes nothing.

    Args:
        connection: a connection of the master user with an open transaction.
        user: the name of the user.
    """
    name = _create_user(connection, user, "LOGIN", tables="SELECT, INSERT, UPDATE, DELETE", sequences="USAGE, SELECT")
    if name and connection.execute(text("SELECT to_regclass('public.alembic_version')")).scalar() is not None:
        # The table of Alembic says which migrations have run.
        connection.execute(text(f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {name}"))


def create_backup_user(connection: Connection, user: str) -> None:
    """Create a user that logs in by IAM, reads all present and later tables of the schema `public`, and can create
    databases.

    A drill restores a backup into a scratch database, which the user creates and removes. The user cannot remove a
    database of another owner. `create_backup_user` does nothing in a database that does not support logins by IAM. A
    repeated call changes nothing.

    Args:
        connection: a connection of the master user with an open transaction.
        user: the name of the user.
    """
    _create_user(connection, user, "LOGIN CREATEDB", tables="SELECT", sequences="SELECT")


def _create_user(connection: Connection, user: str, options: str, *, tables: str, sequences: str) -> str:
    """Create a user with rights to all present and later tables and sequences of the schema `public`.

    Returns:
        The quoted name of the user, or "" if the database does not support logins by IAM.
    """
    if not _exists(connection, _IAM_ROLE):
        return ""
    name = connection.dialect.identifier_preparer.quote_identifier(user)
    statements = [] if _exists(connection, user) else [f"CREATE ROLE {name} {options}"]
    statements += [
        f"GRANT {_IAM_ROLE} TO {name}",
        f"GRANT USAGE ON SCHEMA public TO {name}",
        f"GRANT {tables} ON ALL TABLES IN SCHEMA public TO {name}",
        f"GRANT {sequences} ON ALL SEQUENCES IN SCHEMA public TO {name}",
        # The tables of later migrations:
        # https://www.postgresql.org/docs/current/sql-alterdefaultprivileges.html
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {tables} ON TABLES TO {name}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {sequences} ON SEQUENCES TO {name}",
    ]
    for statement in statements:
        connection.execute(text(statement))
    return name


def _exists(connection: Connection, role: str) -> bool:
    return bool(connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).scalar())
