"""The program that the provisioners of terraform/stacks/local run: `python -m mjctl.local VERB`.

The environment variable MJCTL_INPUT contains the input of the verb, a JSON object. Every verb can be repeated: a second
call with the same input keeps what the first call has done. The program writes a line about its work to stdout, and
errors to stderr. The program has the exit codes of `mjctl`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mjctl.files import read_json, write_private
from mjctl.local.layout import Layout
from mjctl.models.errors import ConfigError, MjctlError, UnreachableError, UsageError
from mjctl.models.exit_codes import ExitCode

_MIGRATION_SECONDS = 120
_SHOWN_LOG_LINES = 10


def _supervisor_start(values: Mapping[str, Any]) -> str:
    from mjctl.local import daemon

    return daemon.start(Layout(Path(values["region_dir"])), values["owner"])


def _supervisor_stop(values: Mapping[str, Any]) -> str:
    from mjctl.local import daemon

    return daemon.stop(Layout(Path(values["region_dir"])), values["owner"])


def _certificates(values: Mapping[str, Any]) -> str:
    from mjctl.local import certificates

    return certificates.issue(Layout(Path(values["region_dir"])))


def _start(values: Mapping[str, Any]) -> str:
    from mjctl.local import lifecycle
    from mjctl.local.spec import ProcessSpec

    return lifecycle.start(ProcessSpec.parse(json.dumps(values)))


def _stop(values: Mapping[str, Any]) -> str:
    from mjctl.local import lifecycle

    return lifecycle.remove(Layout(Path(values["region_dir"])), values["name"], values["owner"])


def _data_plane(values: Mapping[str, Any]) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    from mjctl.local import data_plane
    from mjctl.local.credentials import ensure_profile

    if values.get("epoch") == 0:
        return "data plane: nothing to repair"
    began = time.monotonic()
    layout = Layout(Path(values["region_dir"]))
    spec = data_plane.DataPlaneSpec(
        Path(values["definition"]),
        values["prefix"],
        values["endpoint"],
        values["region"],
        ensure_profile(layout),
        values.get("ca_file"),
        read_json(layout.data_plane),
    )
    try:
        manifest = data_plane.create(spec)
    except (BotoCoreError, ClientError) as error:
        raise UnreachableError(
            f"the data plane could not be created: {error}",
            where=spec.endpoint,
            hint=f"see {layout.log('aws')}",
        ) from error
    write_private(layout.data_plane, json.dumps(manifest, indent=2, sort_keys=True))
    counts = ", ".join(f"{len(manifest[part])} {part}" for part in ("tables", "queues", "topics", "keys"))
    return f"data plane: {counts} and the user pool after {time.monotonic() - began:.1f} s"


def _migrate(values: Mapping[str, Any]) -> str:
    from mjctl.local.daemon import base_environment

    began = time.monotonic()
    log = Layout(Path(values["region_dir"])).log("migrate")
    with log.open("wb") as output:
        result = subprocess.run(
            [sys.executable, "-m", "gameserver", "migrate"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**base_environment(), **values["environment"]},
            timeout=_MIGRATION_SECONDS,
            check=False,
        )
    if result.returncode != 0:
        lines = log.read_text(errors="replace").splitlines()[-_SHOWN_LOG_LINES:]
        raise UnreachableError(
            f"the migration of the database's schema failed (exit code {result.returncode}); the last lines of its log:"
            + "".join(f"\n  | {line}" for line in lines),
            where=str(log),
            hint=f"fix the cause, then run `mjctl deploy {Layout(Path(values['region_dir'])).scope}` again",
        )
    return f"schema: up to date after {time.monotonic() - began:.1f} s"


def _web_client(values: Mapping[str, Any]) -> str:
    link, folder = Layout(Path(values["region_dir"])).web_client, Path(values["web_dir"])
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder)
    # Rename the temporary link, which replaces the old link atomically, so the API process always finds the folder of a
    # web client.
    temporary.replace(link)
    return f"web client: {folder}"


# The function of each verb, and the fields that the verb's input must have. `_VERBS` lists no fields for the verb
# `start`, because `ProcessSpec` checks the fields of its input.
_VERBS: dict[str, tuple[Callable[[Mapping[str, Any]], str], tuple[str, ...]]] = {
    "certificates": (_certificates, ("region_dir",)),
    "data-plane": (_data_plane, ("definition", "endpoint", "prefix", "region", "region_dir")),
    "migrate": (_migrate, ("environment", "region_dir")),
    "start": (_start, ()),
    "stop": (_stop, ("name", "owner", "region_dir")),
    "supervisor-start": (_supervisor_start, ("owner", "region_dir")),
    "supervisor-stop": (_supervisor_stop, ("owner", "region_dir")),
    "web-client": (_web_client, ("region_dir", "web_dir")),
}


def _read_input(text: str, fields: tuple[str, ...]) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"MJCTL_INPUT is not JSON: {error}") from None
    missing = [field for field in fields if not isinstance(values, dict) or field not in values]
    if missing or not isinstance(values, dict):
        raise ConfigError(f"MJCTL_INPUT has no {', '.join(missing) or 'JSON object'}")
    return values


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Run the verb in `arguments` with the input in `environment`, and return the exit code."""
    try:
        if len(arguments) != 1 or arguments[0] not in _VERBS:
            raise UsageError(
                f"usage: python -m mjctl.local {{{','.join(_VERBS)}}}, with the verb's input in MJCTL_INPUT"
            )
        function, fields = _VERBS[arguments[0]]
        line = function(_read_input(environment.get("MJCTL_INPUT", ""), fields))
    except subprocess.TimeoutExpired as error:
        sys.stderr.write(f"{Path(error.cmd[0]).name} was stopped, because it had not ended after {error.timeout:g} s\n")
        return int(ExitCode.UNREACHABLE)
    except MjctlError as error:
        sys.stderr.write(f"{error}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    sys.stdout.write(f"{line}\n")
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
