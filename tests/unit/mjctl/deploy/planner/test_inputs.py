"""The names of a local region's parts come from Python, reach the Terraform code and stay the same over versions."""

from __future__ import annotations

import re
from pathlib import Path

from mjctl.deploy.observation import CERTIFICATES, PARTS
from mjctl.models.environment import LOCAL_PROCESSES, game_servers

STACK = Path(__file__).parents[5] / "terraform" / "stacks" / "local"


def code() -> str:
    return "\n".join(path.read_text() for path in sorted(STACK.glob("*.tf")))


def test_the_names_of_game_servers_are_the_names_of_earlier_versions() -> None:
    """Check the form `game-${zone}-${number}` of earlier versions, because Terraform would replace a renamed server."""
    assert game_servers(["us-east-1b", "us-east-1a"], 2) == {
        "game-us-east-1b-1": "us-east-1b",
        "game-us-east-1b-2": "us-east-1b",
        "game-us-east-1a-1": "us-east-1a",
        "game-us-east-1a-2": "us-east-1a",
    }


def test_the_terraform_code_contains_no_name_of_a_game_server() -> None:
    assert "game-${" not in code()
    assert "for_each = var.servers" in re.sub(r" +", " ", code())


def test_the_terraform_code_knows_the_parts_that_python_observes() -> None:
    epochs = set(re.findall(r'lookup\(var\.epochs, "([^"]+)"', code()))
    assert epochs == {*PARTS, *LOCAL_PROCESSES, CERTIFICATES}
    listed = re.search(r"port_names = concat\(\s*\[([^\]]*)\]", code())
    assert listed is not None
    assert tuple(re.findall(r'"([^"]+)"', listed[1])) == LOCAL_PROCESSES
