"""Compares a deploy by mjctl with plain Terraform, for one, two and four local regions (`make bench-deploy`).

With the same Terraform binary, mjctl and plain Terraform create equal stacks from equal variables in a temporary
folder, and destroy the stacks again. The last line of the output is a JSON object with medians in seconds, ratios and
versions.
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
from functools import partial
from pathlib import Path

import yaml

from mjctl.models.workspace import Workspace
from mjctl.terraform.engine import find_engine

REGIONS = ("us-east-1", "eu-west-1", "ap-northeast-1", "sa-east-1")
COUNTS = (1, 2, 4)
PROJECT = Workspace.discover(Path(__file__)).project_dir


def project_of_four_regions(folder: Path) -> Path:
    """Create a project with this checkout's code and an environment `local` with four regions of three zones each."""
    (folder / "configs").mkdir(parents=True)
    for part in ("terraform", "gameserver", "web"):
        (folder / part).symlink_to(PROJECT / part)
    environment = yaml.safe_load((PROJECT / "configs" / "local.yaml").read_text(encoding="utf-8"))
    environment["regions"] = {name: {"zones": [f"{name}{letter}" for letter in "abc"]} for name in REGIONS}
    environment["concurrency"] = len(REGIONS)
    (folder / "configs" / "local.yaml").write_text(yaml.safe_dump(environment), encoding="utf-8")
    return folder


class Home:
    """Runs mjctl and plain Terraform in turn, with their state and data in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "home"
        self.environment = {
            **os.environ,
            "MJCTL_HOME": str(self.folder),
            "MJCTL_PROJECT_DIR": str(project_of_four_regions(folder / "project")),
            "MJCTL_PYTHON": sys.executable,
        }
        self.engine = find_engine().argv

    def mjctl(self, *arguments: str, good: tuple[int, ...] = (0,)) -> float:
        """Run a command of mjctl, and return its duration in seconds.

        Ends the benchmark if the command's exit code is not in `good`.
        """
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
        """Deploy regions by mjctl, and return the duration in seconds."""
        return self.mjctl("deploy", "--auto-approve", *(f"--region={name}" for name in regions))

    def destroy(self) -> None:
        """Destroy all local regions by mjctl."""
        self.mjctl("destroy", "--all-regions", "--auto-approve")

    def terraform(self, regions: tuple[str, ...]) -> float:
        """Apply or destroy regions by plain Terraform, and return the duration in seconds.

        `terraform init` runs for each region in turn, and then `terraform apply` runs for all regions at the same time,
        as a careful script would do.
        """
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
    """Measure mjctl and plain Terraform `rounds` times for each number of regions.

    Returns the seconds by measurement.
    """
    seconds: dict[str, list[float]] = {}

    def take(name: str, work: Callable[[], float]) -> None:
        seconds.setdefault(name, []).append(work())
        print(f"{name}: {seconds[name][-1]:.2f} s", file=sys.stderr)

    for _ in range(rounds):
        for count in COUNTS:
            regions = REGIONS[:count]
            take(f"mjctl_{count}", partial(home.deploy, regions))
            take(f"mjctl_{count}_unchanged", partial(home.deploy, regions))
            home.destroy()
            take(f"terraform_{count}", partial(home.terraform, regions))
            home.destroy()
    return seconds


def main() -> None:
    """Run the benchmark, and print its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each measurement is repeated")
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
        "ratio_two_regions_to_one": round(medians["mjctl_2"] / medians["mjctl_1"], 2),
        "ratio_mjctl_to_terraform": {
            str(count): round(medians[f"mjctl_{count}"] / medians[f"terraform_{count}"], 2) for count in COUNTS
        },
        "rounds": rounds,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "terraform": find_engine().version,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
