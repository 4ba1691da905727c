"""Computes the Terraform variables of a local region from the environment's file and from the state of this machine.

The variables that depend on this machine are the ports of the processes and the epochs of the region's parts.
"""

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
    observation: Observation | None = None,
) -> dict[str, Any]:
    """Return the variables of terraform/stacks/local for one region.

    Args:
        environment: The environment of the region.
        stack: The stack of the region.
        release: The release to deploy.
        game_dir: The folder with the Python packages of the release, which the processes run.
        web_dir: The folder of the web client, or None if the release has no web client.
        observation: The missing parts of the region, or None if the function shall find the missing parts itself.

    Raises:
        ConflictError: Another program uses a port that the environment's file gives to a process of the region.
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
    return on_this_machine(environment, stack, variables, observation)


def on_this_machine(
    environment: Environment, stack: Stack, variables: Mapping[str, Any], observation: Observation | None = None
) -> dict[str, Any]:
    """Return `variables` with the current names of the game servers, ports of the processes and epochs of the parts.

    Args:
        environment: The environment of the region.
        stack: The stack of the region.
        variables: Variables of terraform/stacks/local, which may be those of an earlier apply.
        observation: The missing parts of the region, or None if the function shall find the missing parts itself.

    Raises:
        ConflictError: Another program uses a port that the environment's file gives to a process of the region.
    """
    region = stack.unit
    servers = game_servers(variables["zones"], variables["game"]["servers_per_zone"])
    names = [*LOCAL_PROCESSES, *servers, *(f"{name}-ops" for name in servers)]
    pinned = {
        pin.split("/", 1)[1]: port for pin, port in environment.local.ports.items() if pin.startswith(f"{region}/")
    }
    return {
        **variables,
        # Do not add the variable `servers` to the variables of an earlier release whose Terraform code computes the
        # names of the servers itself.
        **({"servers": servers} if "servers" in variables else {}),
        "ports": ports.allocate(stack.folder, region, names, pinned),
        "epochs": epochs(
            stack, [*PARTS, *LOCAL_PROCESSES, *servers, *([CERTIFICATES] if variables.get("tls") else [])], observation
        ),
    }


def servers_per_zone(stack: Stack) -> int | None:
    """Return the number of game servers in each zone that `mjctl servers scale` has set for the region.

    Returns:
        None if `mjctl servers scale` has set no number, so the number in the environment's file applies.
    """
    value = _decoded(stack.unit_files.read(_SCALE)).get("servers_per_zone")
    return int(value) if value is not None else None


def set_servers_per_zone(stack: Stack, count: int | None) -> None:
    """Set the number of game servers in each zone for every later deploy of the region.

    Args:
        stack: The stack of the region.
        count: The number of game servers in each zone, or None for the number in the environment's file.
    """
    if count is None:
        stack.unit_files.remove(_SCALE)
        return
    stack.unit_files.write(_SCALE, json.dumps({"servers_per_zone": count}))


def epochs(stack: Stack, names: list[str], observation: Observation | None = None) -> dict[str, int]:
    """Return the epoch of each part of a local region, which is higher for a missing part than at the last apply.

    A new epoch makes Terraform plan a replacement of the part. Epochs are necessary because Terraform's built-in
    provider cannot detect that a part does not exist any more.

    Args:
        stack: The stack of the region.
        names: The parts of the region.
        observation: The missing parts of the region, or None if the function shall find the missing parts itself.
    """
    known = _decoded(UnitFiles(stack.folder).read(_EPOCHS))
    missing = repairable((observation or observe(stack)).missing, names)
    return {name: known.get(name, 0) + (1 if name in missing else 0) for name in names}


def remember(stack: Stack, variables: Mapping[str, Any]) -> None:
    """Store the epochs of a completed apply for the next plan, if `variables` contains epochs."""
    if "epochs" not in variables:
        return
    write_private(stack.folder / _EPOCHS, json.dumps(variables["epochs"]))


def remove_remains(stack: Stack) -> None:
    """Stop the remaining processes of a destroyed unit and remove the unit's files, except the logs, from this machine.

    Processes can remain because Terraform does not run the destroy provisioner of a resource whose creation was
    interrupted.
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
