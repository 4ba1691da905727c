"""Where things lie: the project's files and what mjctl keeps beside them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mjctl.models.account import expanded
from mjctl.models.errors import ConfigError

_MARKS = ("configs", "terraform/stacks")


@dataclass(frozen=True)
class Workspace:
    """`project_dir` holds configs/ and terraform/; `home` (private) holds state, data, logs and secrets."""

    project_dir: Path
    home: Path

    @classmethod
    def discover(cls, start: Path | None = None) -> Workspace:
        """Find the project: $MJCTL_PROJECT_DIR, else the nearest folder upwards from `start`, else this checkout.

        Raises:
            ConfigError: no folder with configs/ and terraform/stacks/ was found.
        """
        named = os.environ.get("MJCTL_PROJECT_DIR")
        if named:
            candidates = [expanded(named)]
        else:
            here = (start or Path.cwd()).resolve()
            candidates = [here, *here.parents, Path(__file__).resolve().parents[2]]
        for folder in candidates:
            if all((folder / mark).is_dir() for mark in _MARKS):
                project_dir = folder.resolve()
                home = os.environ.get("MJCTL_HOME")
                return cls(project_dir, expanded(home).resolve() if home else project_dir / ".mjctl")
        raise ConfigError(
            "no mjctl project found: no folder with configs/ and terraform/stacks/",
            where=str(candidates[0]),
            hint="change into a checkout of the project, or set MJCTL_PROJECT_DIR to one",
        )

    @property
    def configs_dir(self) -> Path:
        return self.project_dir / "configs"

    def stack_dir(self, stack: str) -> Path:
        return self.project_dir / "terraform" / "stacks" / stack

    def environment_dir(self, environment: str) -> Path:
        return self.home / environment

    def region_dir(self, environment: str, region: str) -> Path:
        """What belongs to one region: terraform/ (data and state), run/, data/, logs/, secrets/."""
        return self.home / environment / region
