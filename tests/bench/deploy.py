"""`make bench-deploy`: mjctl beside plain Terraform started by hand, over one and two local regions, in one run.

Both bring up the same stack from the same variables with the same engine on a home of their own, and take it down
again. The last line is one JSON object: medians in seconds, ratios, versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mjctl.models.workspace import Workspace
from mjctl.terraform.engine import find_engine

REGIONS = ("us-east-1", "eu-west-1", "ap-northeast-1")
PROJECT = Workspace.discover(Path(__file__)).project_dir


class Home:
    """One folder for state and data, used by mjctl and by plain Terraform in turn."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "MJCTL_HOME": str(folder), "MJCTL_PYTHON": sys.executable}
        self.engine = find_engine().argv

    def mjctl(self, *arguments: str, good: tuple[int, ...] = (0,)) -> float:
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "mjctl", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in good:
            sys.exit(f"mjctl {' '.join(arguments)} ended with {done.returncode}\n{done.stderr}")
        return time.monotonic() - started

    def deploy(self, regions: tuple[str, ...]) -> float:
        return self.mjctl("deploy", "--auto-approve", *(f"--region={name}" for name in regions))

    def destroy(self) -> None:
        self.mjctl("destroy", "--all-regions", "--auto-approve")

    def terraform(self, regions: tuple[str, ...]) -> float:
        """init in series, then every region's apply at the same time, as a careful person would script it."""
        self.mjctl("plan", *(f"--region={name}" for name in regions), good=(2,))
        folders = [self.folder / "local" / name / "terraform" for name in regions]
        for folder in folders:
            shutil.rmtree(folder / "data")
        started = time.monotonic()
        for folder in folders:
            state = f"-backend-config=path={folder / 'terraform.tfstate'}"
            self._start(folder, "init", "-input=false", "-no-color", state).wait()
        variables = "-var-file={}/variables.tfvars.json"
        running = [
            self._start(folder, "apply", "-auto-approve", "-input=false", "-no-color", variables.format(folder))
            for folder in folders
        ]
        codes = [process.wait() for process in running]
        seconds = time.monotonic() - started
        if any(codes):
            sys.exit(f"terraform apply ended with {codes}")
        return seconds

    def _start(self, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.engine, *arguments],
            cwd=PROJECT / "terraform" / "stacks" / "local",
            env={**self.environment, "TF_DATA_DIR": str(folder / "data"), "CHECKPOINT_DISABLE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def measure(home: Home, rounds: int) -> dict[str, list[float]]:
    one, two = REGIONS[:1], REGIONS[:2]
    seconds: dict[str, list[float]] = {}

    def take(name: str, work: Callable[[], float]) -> None:
        seconds.setdefault(name, []).append(work())
        print(f"{name}: {seconds[name][-1]:.2f} s", file=sys.stderr)

    for _ in range(rounds):
        take("mjctl_one", lambda: home.deploy(one))
        take("mjctl_one_unchanged", lambda: home.deploy(one))
        home.destroy()
        take("terraform_one", lambda: home.terraform(one))
        home.destroy()
        take("mjctl_two", lambda: home.deploy(two))
        take("mjctl_two_unchanged", lambda: home.deploy(two))
        home.destroy()
        take("terraform_two", lambda: home.terraform(two))
        home.destroy()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    folder = Path(tempfile.mkdtemp(prefix="mjctl-bench-"))
    home = Home(folder)
    try:
        home.deploy(REGIONS[:1])
        home.destroy()
        seconds = measure(home, rounds)
    finally:
        home.destroy()
        shutil.rmtree(folder)
    medians = {name: round(statistics.median(values), 2) for name, values in seconds.items()}
    result = {
        "median_seconds": medians,
        "ratio_two_regions_to_one": round(medians["mjctl_two"] / medians["mjctl_one"], 2),
        "ratio_mjctl_to_terraform_one": round(medians["mjctl_one"] / medians["terraform_one"], 2),
        "ratio_mjctl_to_terraform_two": round(medians["mjctl_two"] / medians["terraform_two"], 2),
        "rounds": rounds,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "terraform": find_engine().version,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
