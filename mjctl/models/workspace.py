"""The paths of the project's files, and of the files that mjctl keeps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mjctl.models.account import expanded
from mjctl.models.errors import ConfigError

_MARKS = ("configs", "terraform/stacks")


@dataclass(frozen=True)
class Workspace:
    """Names the folders of a project.

    Attributes:
        project_dir: The checkout, which contains configs/ and terraform/.
        home: The private folder of states, data, logs and secrets: $MJCTL_HOME, or `.mjctl` in the checkout.
    """

    project_dir: Path
    home: Path

    @classmethod
    def discover(cls, start: Path | None = None) -> Workspace:
        """Find the project's folder.

        The project's folder is $MJCTL_PROJECT_DIR if that variable is set. Without $MJCTL_PROJECT_DIR, the project is
        the nearest folder with configs/ and terraform/stacks/, upwards from `start`. If `start` is outside of a
        project, the project is the checkout that contains mjctl's code.

        Args:
            start: The folder in which the search begins, by default the current folder.

        Raises:
            ConfigError: no searched folder contains configs/ and terraform/stacks/.
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
            hint="change into a checkout of the project, or set MJCTL_PROJECT_DIR to the folder of a checkout",
        )

    @property
    def configs_dir(self) -> Path:
        """Return the folder of the environments' files."""
        return self.project_dir / "configs"

    def stack_dir(self, stack: str) -> Path:
        """Return the folder of the Terraform code of `stack`, e.g. `region`."""
        return self.project_dir / "terraform" / "stacks" / stack

    def environment_dir(self, environment: str) -> Path:
        """Return the private folder in which mjctl keeps the files of `environment`."""
        return self.home / environment

    def region_dir(self, environment: str, region: str) -> Path:
        """Return the private folder of a region: terraform/ (data and state), run/, data/, logs/, secrets/."""
        return self.home / environment / region
