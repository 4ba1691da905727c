from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import asyncpg


def migrate(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gameserver", "migrate"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


async def test_older_code_does_not_change_a_newer_schema(
    make_settings: Any, run_environment: Any, postgres: Any
) -> None:
    """Test the state after a rollback to code from before a migration."""
    settings = make_settings()
    connection = await asyncpg.connect(
        host=postgres.host,
        port=postgres.port,
        user=postgres.user,
        password=postgres.password,
        database=settings.database_name,
    )
    try:
        await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        done = await asyncio.to_thread(migrate, run_environment(settings))
        assert done.returncode == 0, done.stderr
        assert '"event":"schema_is_newer"' in done.stderr.replace('": ', '":')
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == "9999"
    finally:
        await connection.close()
