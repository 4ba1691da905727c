"""What a stack is given: the environment's wishes, plus what only this machine knows (ports, what is gone)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mjctl.deploy.observation import CERTIFICATES, PARTS, Observation, observe, repairable
from mjctl.files import write_private
from mjctl.local import daemon, ports
from mjctl.local.layout import Layout
from mjctl.models.environment import LOCAL_PROCESSES, Environment, game_servers
from mjctl.models.release import Release
from mjctl.terraform.stack import Stack
from mjctl.terraform.unit_files import UnitFiles

_EPOCHS = "epochs.json"
_SCALE = "scale.json"


def local_variables(
    environment: Environment,
    stack: Stack,
    release: Release,
    game_dir: Path,
    web_dir: Path | None = None,
    seen: Observation | None = None,
) -> dict[str, Any]:
    """Variables of terraform/stacks/local for one region, whose processes run the package in `game_dir`.

    `web_dir`: the web client; None: there is none. `seen`: what has changed in the region; None to look now.

    Raises:
        ConflictError: a pinned port is taken by another program.
    """
    game = environment.game.model_dump(mode="json")
    scaled = servers_per_zone(stack)
    if scaled is not None:
        game["servers_per_zone"] = scaled
    variables = {
        "project": environment.project,
        "environment": environment.name,
        "region": stack.unit,
        "zones": list(environment.regions[stack.unit].zones),
        "region_dir": str(stack.folder),
        "game": game,
        "servers": {},
        "tls": environment.local.tls,
        "revision": release.game,
        "release_dir": str(game_dir),
        "web_dir": str(web_dir) if web_dir is not None else None,
    }
    return on_this_machine(environment, stack, variables, seen)


def on_this_machine(
    environment: Environment, stack: Stack, variables: Mapping[str, Any], seen: Observation | None = None
) -> dict[str, Any]:
    """The same variables with the game servers, ports and epochs that hold now.

    Raises:
        ConflictError: a pinned port is taken by another program.
    """
    region = stack.unit
    servers = game_servers(variables["zones"], variables["game"]["servers_per_zone"])
    names = [*LOCAL_PROCESSES, *servers, *(f"{name}-ops" for name in servers)]
    pinned = {
        pin.split("/", 1)[1]: port for pin, port in environment.local.ports.items() if pin.startswith(f"{region}/")
    }
    return {
        **variables,
        # The Terraform code of an earlier release makes the same names itself and has no such variable.
        **({"servers": servers} if "servers" in variables else {}),
        "ports": ports.allocate(stack.folder, region, names, pinned),
        "epochs": epochs(
            stack, [*PARTS, *LOCAL_PROCESSES, *servers, *([CERTIFICATES] if variables.get("tls") else [])], seen
        ),
    }


def servers_per_zone(stack: Stack) -> int | None:
    """What `mjctl servers scale` has set for the region; None when the environment's file decides."""
    value = _decoded(stack.unit_files.read(_SCALE)).get("servers_per_zone")
    return int(value) if value is not None else None


def set_servers_per_zone(stack: Stack, count: int | None) -> None:
    """Let every later deploy of the region have `count` servers a zone; None leaves it to the environment's file."""
    if count is None:
        stack.unit_files.remove(_SCALE)
        return
    stack.unit_files.write(_SCALE, json.dumps({"servers_per_zone": count}))


def epochs(stack: Stack, names: list[str], seen: Observation | None = None) -> dict[str, int]:
    """One number a part, raised when the state says that the part exists and this machine says that it does not.

    Terraform's built-in provider has no refresh; this is the local target's. A plan then shows a replacement.
    """
    known = _decoded(UnitFiles(stack.folder).read(_EPOCHS))
    gone = repairable((seen or observe(stack)).gone, names)
    return {name: known.get(name, 0) + (1 if name in gone else 0) for name in names}


def remember(stack: Stack, variables: Mapping[str, Any]) -> None:
    """Keep the epochs of an apply, where there are any: the next one counts from them."""
    if "epochs" not in variables:
        return
    write_private(stack.folder / _EPOCHS, json.dumps(variables["epochs"]))


def remove_remains(stack: Stack) -> None:
    """End and remove what a destroyed region may still have here; the logs stay.

    Terraform runs no destroy provisioner of a resource whose creation was interrupted, so its process can be left.
    """
    if stack.remote is None:
        daemon.stop(Layout(stack.folder))
    stack.unit_files.remove(_SCALE)
    stack.forget_applied()
    for path in (stack.folder / _EPOCHS, Layout(stack.folder).ports):
        path.unlink(missing_ok=True)
    shutil.rmtree(stack.data_dir, ignore_errors=True)
    for path in stack.terraform_dir.glob("*"):
        if not path.name.startswith("mjctl.lock"):
            path.unlink(missing_ok=True)


def _decoded(note: bytes | None) -> dict[str, Any]:
    try:
        value = json.loads(note or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
