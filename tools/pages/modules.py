"""Generates docs/modules.md, the index of the Terraform stacks and modules."""

from __future__ import annotations

import re
from pathlib import Path

from tools.pages.markdown import head, plain, table

_ROOT = Path(__file__).parents[2]
MODULES = _ROOT / "terraform" / "modules"
STACKS = _ROOT / "terraform" / "stacks"
_INTRODUCTION = """
A stack is one Terraform root with one state. `mjctl deploy` applies the stacks in their order
([The production infrastructure on AWS](aws.md)). A module creates one kind of thing and is used by the stacks. Its
README has an example, its inputs and its outputs.
"""
# Folder of a stack or module without a README -> the description of its content on the page.
_WITHOUT_README = {
    "bootstrap": "The bucket that stores the states of the other stacks, and its key. Applied by `mjctl bootstrap`.",
    "foundation": "The parts that an environment has once: keys, tables, user pool, global database, registry, zone.",
    "region": "One region: network, game servers, functions, cache, database, queues, backups, alarms.",
    "edge": "CloudFront, the global accelerator and their firewall. Applied last.",
    "local": "One region on this machine, as processes.",
    "data_plane": "`data-plane.yaml`: the definition of tables, queues, topics and the user pool, for all targets.",
    "local_process": "One process of a local region, started and stopped by `python -m mjctl.local`.",
}


def page() -> str:
    """Return the whole page."""
    stacks = ["bootstrap", "foundation", "region", "edge", "local"]
    modules = sorted(folder.name for folder in MODULES.iterdir() if folder.is_dir())
    return "\n".join(
        [
            head("Terraform modules", _INTRODUCTION),
            "## Stacks\n\n" + table(("stack", "content"), [_row(STACKS / name) for name in stacks]),
            "## Modules\n\n" + table(("module", "content"), [_row(MODULES / name) for name in modules]),
        ]
    )


def _row(folder: Path) -> tuple[str, str]:
    readme = folder / "README.md"
    target = f"../{folder.relative_to(_ROOT)}/"
    if not readme.is_file():
        return f"[`{folder.name}`]({target})", _WITHOUT_README[folder.name]
    paragraph = readme.read_text(encoding="utf-8").split("\n\n")[1]
    sentence = re.split(r"(?<=\.) (?=[A-Z])", " ".join(paragraph.split()))[0]
    return f"[`{folder.name}`]({target}README.md)", plain(sentence)
