"""What a stack is given: the environment's wishes, plus what only this machine knows (ports, what is gone)."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mjctl.local import daemon, inventory, ports
from mjctl.local.layout import Layout
from mjctl.models.environment import Environment
from mjctl.models.workspace import Workspace
from mjctl.terraform.stack import Stack, write_private

_EPOCHS = "epochs.json"


def server_names(environment: Environment, region: str) -> list[str]:
    """Program names of the region's game servers, zone by zone."""
    count = environment.game.servers_per_zone
    return [f"game-{zone}-{n}" for zone in environment.regions[region].zones for n in range(1, count + 1)]


def local_variables(workspace: Workspace, environment: Environment, stack: Stack) -> dict[str, Any]:
    """Variables of terraform/stacks/local for one region.

    Raises:
        ConflictError: a pinned port is taken by another program.
    """
    region = stack.region
    servers = server_names(environment, region)
    names = ["redis", "postgres", "aws", "api", "worker", *servers, *(f"{name}-ops" for name in servers)]
    pinned = {
        pin.split("/", 1)[1]: port for pin, port in environment.local.ports.items() if pin.startswith(f"{region}/")
    }
    return {
        "project": environment.project,
        "environment": environment.name,
        "region": region,
        "zones": list(environment.regions[region].zones),
        "region_dir": str(stack.folder),
        "game": environment.game.model_dump(mode="json"),
        "ports": ports.allocate(stack.folder, region, names, pinned),
        "epochs": epochs(stack, ["supervisor", "data-plane", *names[:5], *servers]),
        "revision": game_revision(workspace.project_dir / "gameserver"),
    }


def game_revision(package: Path) -> str:
    """A digest of the game's code: a change rolls the processes that run it, and nothing else."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(package)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def epochs(stack: Stack, names: list[str]) -> dict[str, int]:
    """One number a part, raised when the state says that the part exists and this machine says that it does not.

    Terraform's built-in provider has no refresh; this is the local target's. A plan then shows a replacement.
    """
    known = _read(stack.folder / _EPOCHS)
    gone = missing_parts(stack)
    return {name: known.get(name, 0) + (1 if name in gone else 0) for name in names}


def missing_parts(stack: Stack) -> frozenset[str]:
    """Parts that the last apply has left running and that are no longer there."""
    if not stack.exists():
        return frozenset()
    applied = _read(stack.applied_variables_file).get("epochs", {})
    seen = inventory.observe(stack.folder)
    if not seen.supervisor_alive:
        return frozenset(applied) or frozenset({"supervisor"})
    gone = {name for name in applied if name not in ("supervisor", "data-plane") and not seen.exists(name)}
    if not seen.data_plane_present:
        gone.add("data-plane")
    return frozenset(gone)


def remember(stack: Stack, variables: Mapping[str, Any]) -> None:
    """Keep the epochs of an apply: the next one counts from them."""
    write_private(stack.folder / _EPOCHS, json.dumps(variables.get("epochs", {})))


def remove_remains(stack: Stack) -> None:
    """End and remove what a destroyed region may still have here; the logs stay.

    Terraform runs no destroy provisioner of a resource whose creation was interrupted, so its process can be left.
    """
    daemon.stop(Layout(stack.folder))
    for path in (stack.folder / _EPOCHS, Layout(stack.folder).ports):
        path.unlink(missing_ok=True)
    shutil.rmtree(stack.data_dir, ignore_errors=True)
    for path in stack.terraform_dir.glob("*"):
        if not path.name.startswith("mjctl.lock"):
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
