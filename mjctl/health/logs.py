"""Returns the command that shows the log of a part, for the advice of health checks."""

from __future__ import annotations

import shlex
from pathlib import Path

from mjctl.models.contract import Contract

_LINES = 50
_SINCE = "1h"


def log_command(contract: Contract, part: str) -> str:
    """Return the command, in backquotes, that shows the end of a part's log.

    Args:
        part: the part whose log the command shows. In a local region `part` is the name of a process: redis, postgres,
            aws, api, worker or a game server. In a region on AWS `part` is a function (api, auth, persistence, ops), or
            `worker` for `persistence`. Any other `part` in a region on AWS means the game servers.
    """
    if contract.fleet.run_dir is not None:
        log = Path(contract.fleet.run_dir).parent / "logs" / f"{part}.log"
        return f"`tail -n {_LINES} {shlex.quote(str(log))}`"
    functions = contract.managed.functions if contract.managed is not None else {}
    purpose = "persistence" if part == "worker" else part
    group = f"/aws/lambda/{functions[purpose]}" if purpose in functions else contract.fleet.log_group
    if group is None:
        return f"`aws logs describe-log-groups --region {contract.region}` lists the logs"
    return f"`aws logs tail {group} --region {contract.region} --since {_SINCE}`"
