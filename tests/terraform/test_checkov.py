"""Runs checkov on every module. Each finding of checkov must be fixed, or skipped with a reason."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest

from tools import module_docs

# checkov is no test dependency, because checkov needs other versions of libraries than mjctl. `pipx install checkov`
# installs checkov, or the variable CHECKOV names its program.
CHECKOV = os.environ.get("CHECKOV") or shutil.which("checkov")


def test_every_skip_has_a_reason() -> None:
    for file in module_docs.MODULES_DIR.glob("*/*.tf"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if "checkov:skip" in line:
                assert re.fullmatch(r"  #checkov:skip=CKV2?_AWS_\d+:\S.{15,}", line), f"{file}: {line.strip()}"


@pytest.mark.infra
@pytest.mark.timeout(300)
@pytest.mark.skipif(CHECKOV is None, reason="checkov is not installed")
def test_checkov_finds_nothing_else() -> None:
    done = subprocess.run(
        [str(CHECKOV), "-d", str(module_docs.MODULES_DIR), "--framework", "terraform", "--quiet", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 500
    assert [(f["check_id"], f["resource"]) for f in report["results"]["failed_checks"]] == []
