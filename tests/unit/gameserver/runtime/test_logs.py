from __future__ import annotations

import json
import subprocess
import sys

_PROGRAM = """
import logging
import structlog
from gameserver.runtime import logs
from gameserver.runtime.settings import Settings

logs.configure(Settings("p", "e", "us-east-1", "redis://x", zone="us-east-1a"), "api")
log = structlog.get_logger()
log.debug("hidden")
log.info("shown", match_id="m1", raw=b"x", odd=object)
logging.getLogger("library").info("hidden")
logging.getLogger("library").warning("told %s", "you")
password = "hunter2"
try:
    raise ValueError("bad")
except ValueError:
    log.exception("failed")
"""


def test_every_line_is_json_on_stderr() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    shown, library, failed = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"process": "api", "region": "us-east-1", "zone": "us-east-1a", "level": "info"}.items() <= shown.items()
    assert (shown["event"], shown["match_id"]) == ("shown", "m1")
    assert "server_id" not in shown
    assert (library["event"], library["logger"], library["level"]) == ("told you", "library", "warning")
    assert "ValueError: bad" in failed["exception"]
    assert 'password = "hunter2"' not in failed["exception"]
