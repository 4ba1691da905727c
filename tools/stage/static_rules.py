"""Checks the rules of production on a copy of the project, for faults that no match and no check of a stage can show.

Some faults hurt only after hours, or only if a part fails: a missing plan of backups, or a connection that ends after
ten idle seconds. The rules of tools/well_architected find such faults in the plans of configs/prod.yaml.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from tools.checkout import ROOT
from tools.stage.steps import Failure

TERRAFORM = "MJCTL_TEST_TERRAFORM"
"""The environment variable with the folder of Terraform code that tests/terraform reads, if not the checkout's."""

_TESTS = "tests/terraform/test_well_architected.py"
# Terraform plans five stacks with the real provider, which takes about two minutes.
_PLAN_SECONDS = 900
_TESTED_RULE = re.compile(r"\[(\w+)\]$")
_BROKEN = re.compile(r"^E +(?:AssertionError: )?assert (\[.*\]) == \[\]", re.MULTILINE)


def check_rules(project: Path) -> None:
    """Plan production with the Terraform code of the copy of the project in `project`, and check all rules.

    Raises:
        Failure: the plans break a rule, or production cannot be planned. The first broken rule is the error's step.
    """
    with tempfile.TemporaryDirectory(prefix="mjctl-rules-") as folder:
        results, temporary = Path(folder) / "results.xml", Path(folder) / "tests"
        # With -vv, pytest does not shorten the faults that a rule has found.
        command = [sys.executable, "-m", "pytest", "-vv", "-p", "no:cacheprovider", "-k", "obeys_the_rule"]
        done = subprocess.run(
            [*command, f"--basetemp={temporary}", f"--junitxml={results}", _TESTS],
            cwd=ROOT,
            env={**os.environ, TERRAFORM: str(project / "terraform")},
            capture_output=True,
            text=True,
            check=False,
            timeout=_PLAN_SECONDS,
        )
        if done.returncode == 0:
            return
        broken = list(_broken(results)) if results.is_file() else []
    if not broken:
        raise Failure("the rules of production", done.stdout.strip()[-500:] or done.stderr.strip()[-500:])
    rule, message = broken[0]
    others = ", ".join(name for name, _ in broken[1:])
    raise Failure(f"the rule {rule}", f"{message}{f'; broken too: {others}' if others else ''}")


def _broken(results: Path) -> Iterator[tuple[str, str]]:
    """Yield the name of each broken rule with the faults that the rule has found."""
    # The program itself has written the file a moment ago.
    for case in ElementTree.parse(results).iter("testcase"):  # noqa: S314
        tested = _TESTED_RULE.search(case.get("name", ""))
        for problem in [*case.iter("failure"), *case.iter("error")]:
            text = problem.text or ""
            listed = _BROKEN.search(text)
            yield tested.group(1) if tested else "", listed.group(1) if listed else text.strip()[-300:]
