"""Breaks the product one line at a time, and checks that a test fails for each broken line.

`make mutants` runs all mutants, and `python -m tools.mutants.run NAME...` runs the named mutants.

The program applies each mutant to a copy of the checkout, so that the checkout itself is never broken. The tests run
once without a mutant first, unless `--no-baseline` is given: a test that fails without a mutant proves nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tools.mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".mjctl", "__pycache__", ".*_cache", "*.egg-info", "node_modules"
)
# Time limit in seconds for the tests of one mutant, because a mutant can make a test wait for ever. A mutant whose
# tests exceed the time limit counts as detected.
_SECONDS = 600
_FAILED, _NO_TESTS = 1, 5


class StaleMutantError(Exception):
    """Reports a mutant whose text `old` does not occur exactly once in its file, or whose test file is missing."""


def broken(mutant: Mutant, root: Path = ROOT) -> str:
    """Return the text of the mutant's file with the mutant applied.

    Raises:
        StaleMutantError: The mutant's text `old` does not occur exactly once in the file, or a test file is missing.
    """
    path = root / mutant.file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    count = text.count(mutant.old)
    if count != 1:
        raise StaleMutantError(f"{mutant.name}: the text occurs {count} times in {mutant.file} and must occur once")
    missing = [test for test in mutant.tests if not (root / test.split("::")[0]).exists()]
    if missing:
        raise StaleMutantError(f"{mutant.name}: there is no {', '.join(missing)}")
    return text.replace(mutant.old, mutant.new)


def main(arguments: Sequence[str]) -> int:
    """Run the mutants that `arguments` names, or all mutants.

    Returns:
        0 if a test failed for every mutant, 1 if a mutant survived, 2 if the tests fail without a mutant.
    """
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="names of the mutants to run; by default all mutants")
    parser.add_argument("--no-baseline", action="store_true", help="skip the first test run, which has no mutant")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no mutant is named {', '.join(sorted(unknown))}")
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    chosen = [by_name[name] for name in options.names] or list(MUTANTS)
    for mutant in chosen:
        broken(mutant)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(ROOT, copy, ignore=_NOT_COPIED)
        return _run(chosen, copy, baseline=not options.no_baseline)


def _run(chosen: Sequence[Mutant], copy: Path, *, baseline: bool) -> int:
    tried = [mutant for mutant in chosen if not mutant.equivalent]
    if baseline:
        tests = sorted({test for mutant in tried for test in mutant.tests})
        print(f"unbroken: {len(tests)} test files", flush=True)
        if _pytest(copy, tests, stop=False)[0] != 0:
            print("the tests fail without a mutant: fix the tests first")
            return 2
    survivors = []
    for mutant in chosen:
        if mutant.equivalent:
            print(f"equivalent {mutant.name:22} {mutant.equivalent}")
            continue
        started = time.monotonic()
        caught = _caught_by(mutant, copy)
        seconds = time.monotonic() - started
        print(f"{'caught' if caught else 'SURVIVED':10} {mutant.name:22} {seconds:4.0f} s  {mutant.breaks}", flush=True)
        if caught:
            print(f"           by {caught}", flush=True)
        if not caught:
            survivors.append(mutant)
    print(f"{len(tried)} tried, {len(tried) - len(survivors)} caught, {len(chosen) - len(tried)} equivalent")
    return 1 if survivors else 0


def _caught_by(mutant: Mutant, copy: Path) -> str:
    """Return the id of the test that fails with the mutant, or "" if all tests pass."""
    path = copy / mutant.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(broken(mutant, copy), encoding="utf-8")
    try:
        code, failed = _pytest(copy, mutant.tests, stop=True)
    except subprocess.TimeoutExpired:
        return f"a test that did not end within {_SECONDS} s"
    finally:
        path.write_text(whole, encoding="utf-8")
    if code not in (0, _FAILED, _NO_TESTS):
        raise SystemExit(f"{mutant.name}: pytest ended with {code}: the mutant is invalid, or pytest could not run")
    return failed if code == _FAILED else ""


def _pytest(copy: Path, tests: Iterable[str], *, stop: bool) -> tuple[int, str]:
    """Run tests in the copied checkout.

    The folder of the copied checkout is the first on the import path, so that the tests import the copied packages.

    Args:
        copy: folder of the copied checkout.
        tests: test files, or ids of tests.
        stop: whether to stop at the first failure.

    Returns: The exit code of pytest, and the id of the first test that failed.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MJCTL_HOME": str(copy.parent / "home"),
    }
    markers = "not slow and not infra and not browser"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", "-m", markers, *tests]
    ended = subprocess.run(
        [*command, *(["-x"] if stop else [])],
        cwd=copy,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS if stop else None,
        check=False,
    )
    if not stop and ended.returncode:
        print(ended.stdout[-4_000:])
    if f"{copy}" not in _imported_from(copy, environment):
        raise SystemExit("the tests do not import the copy: a mutant would change nothing")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    return ended.returncode, failed[1] if failed else "a test"


def _imported_from(copy: Path, environment: dict[str, str]) -> str:
    script = "import gameserver, mjctl; print(gameserver.__file__, mjctl.__file__)"
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=copy, env=environment, capture_output=True, text=True, check=True
    )
    return printed.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
