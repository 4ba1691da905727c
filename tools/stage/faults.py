"""Plants the faults of `tools/stage/fault_list.py`, and checks that the expected check finds each: `make stage-faults`.

Usage: python -m tools.stage.faults [NAME...] [--base FOLDER] [--output json]

A fault takes about two minutes, because all faults share one deployed base. A fault that only a deploy from nothing
shows takes about seven minutes. The table shows for each fault the check that found it, and the seconds until then.

The exit codes are:

- 0: the expected check found each fault
- 1: another check or no check found a fault
- 2: the base cannot be deployed, or a fault does not fit the code
- 130: Ctrl-C
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tools.checkout import ROOT
from tools.stage.fault_list import FAULTS, Fault
from tools.stage.plant import add_options, deployed_base, from_nothing
from tools.stage.planting import Base, Finding
from tools.stage.steps import Failure


def changed(fault: Fault, root: Path) -> dict[Path, str]:
    """Return the new text of each file that a fault changes.

    Raises:
        Failure: the text `old` of an edit does not occur exactly once.
    """
    texts: dict[Path, str] = {}
    for edit in fault.edits:
        path = root / edit.file
        text = texts.get(path) or (path.read_text(encoding="utf-8") if path.is_file() else "")
        if (count := text.count(edit.old)) != 1:
            raise Failure(
                f"the fault {fault.name}", f"its text occurs {count} times in {edit.file} and must occur once"
            )
        texts[path] = text.replace(edit.old, edit.new)
    return texts


def plant(fault: Fault, project: Path) -> None:
    """Change the copy of the project in the folder `project`.

    Raises:
        Failure: the text `old` of an edit does not occur exactly once.
    """
    for path, text in changed(fault, project).items():
        path.write_text(text, encoding="utf-8")


def as_expected(fault: Fault, finding: Finding) -> bool:
    """Return whether the check that the fault names has found the fault."""
    if finding.found_by is None:
        return False
    if fault.found_by.startswith("check "):
        return fault.found_by.removeprefix("check ") in finding.checks
    return finding.found_by.startswith(fault.found_by)


def main() -> int:
    """Run the program: deploy each changed copy, and print the table. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.stage.faults", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="*", help="names of the faults to plant; by default all faults")
    add_options(parser)
    options = parser.parse_args()
    by_name = {fault.name: fault for fault in FAULTS}
    if unknown := [name for name in options.name if name not in by_name]:
        parser.error(f"no fault is named {', '.join(unknown)}")
    chosen = [by_name[name] for name in options.name] or [fault for fault in FAULTS if not fault.unfound]
    planted: list[tuple[Fault, Finding]] = []
    try:
        for fault in chosen:
            changed(fault, ROOT)
        with ExitStack() as stack:
            base: Base | None = None
            for number, fault in enumerate(chosen, 1):
                print(f"{number}/{len(chosen)} {fault.name}: {fault.breaks}", file=sys.stderr, flush=True)
                if fault.first_deploy:
                    finding = from_nothing(options.region or ["us-east-1"], fault.name, partial(plant, fault))
                else:
                    base = base or stack.enter_context(deployed_base(options.base, options.region or ["us-east-1"]))
                    finding = base.found(fault.name, partial(plant, fault))
                planted.append((fault, finding))
                print(finding.line(), file=sys.stderr, flush=True)
    except Failure as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the copies are removed", file=sys.stderr)
        return 130
    if options.output == "json":
        print(json.dumps({"findings": [_document(fault, finding) for fault, finding in planted]}))
    else:
        print("\n".join(_table(planted)))
    return 0 if all(as_expected(fault, finding) for fault, finding in planted) else 1


def _document(fault: Fault, finding: Finding) -> dict[str, object]:
    return {
        **asdict(finding),
        "breaks": fault.breaks,
        "expected": fault.found_by,
        "as_expected": as_expected(fault, finding),
    }


def _table(planted: Sequence[tuple[Fault, Finding]]) -> list[str]:
    lines = ["| fault | form | found by | seconds |", "|---|---|---|---|"]
    for fault, finding in planted:
        by = finding.found_by or "not found"
        if finding.checks:
            by += f" ({', '.join(finding.checks)})"
        if not as_expected(fault, finding):
            by += f"; EXPECTED {fault.found_by}"
        lines.append(f"| {fault.name}: {fault.breaks} | {finding.form} | {by} | {finding.seconds:.0f} |")
    count = sum(as_expected(fault, finding) for fault, finding in planted)
    return [*lines, f"{count} of {len(planted)} faults were found by the expected check"]


if __name__ == "__main__":
    sys.exit(main())
