"""Plans kept in a folder between `plan --out` and `deploy --plans`: a job plans, a person approves, a job applies.

For each region the folder has the plan, its seal, and the variables it was made with. All of it may hold secrets in
clear: the folder is private, and the files of a region are removed once its plan has been applied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mjctl.files import explained_disk_errors, read_json, write_private
from mjctl.models.errors import ConflictError, NotFoundError, PermissionDeniedError
from mjctl.terraform.plan_file import Binding, SavedPlan
from mjctl.terraform.stack import Stack

_AGAIN = "make new plans: `mjctl plan --region REGION --out DIR`"


@dataclass(frozen=True)
class PlanFolder:
    path: Path

    def prepare(self) -> None:
        """Make the folder, or take one that is there, and close it to others.

        Raises:
            PermissionDeniedError: this user may not write there, or the path is no folder.
        """
        with explained_disk_errors(str(self.path)):
            if self.path.exists() and not self.path.is_dir():
                raise PermissionDeniedError(
                    "the plans need a folder, and this is none", where=str(self.path), hint="name another path"
                )
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)

    def saved(self, stack: Stack, binding: Binding) -> SavedPlan:
        return SavedPlan(self.path / f"{_name(stack)}.tfplan", binding)

    def keep_variables(self, stack: Stack, variables: Mapping[str, Any]) -> None:
        write_private(self._variables(stack), json.dumps(variables, indent=2, sort_keys=True))

    def load_saved(self, stack: Stack, binding: Binding, wanted: Mapping[str, Any]) -> SavedPlan:
        """The region's plan, after checking that it does what a plan made now would do.

        Raises:
            NotFoundError: there is no plan of this region in the folder.
            ConflictError: it was made for something else, or anything that it stands on has changed.
        """
        saved = self.saved(stack, binding)
        if not saved.path.is_file():
            known = ", ".join(sorted(path.stem for path in self.path.glob("*.tfplan"))) or "none"
            raise NotFoundError(
                f"no plan of {stack.unit} in this folder", where=str(self.path), hint=f"plans there: {known}"
            )
        made_with = read_json(self._variables(stack))
        differing = sorted(name for name in {*made_with, *wanted} if made_with.get(name) != wanted.get(name))
        # Other code has a word of its own: the seal's.
        if differing and "revision" not in differing:
            raise ConflictError(
                f"the saved plan does not fit: other values are wanted now for {', '.join(differing)}",
                where=f"{stack.where}, {saved.path}",
                hint=_AGAIN,
            )
        write_private(stack.variables_file, self._variables(stack).read_text(encoding="utf-8"))
        saved.verify(stack)
        return saved

    def remove(self, stack: Stack) -> None:
        """Remove what is left of one region, and the folder with the last one."""
        for path in self.path.glob(f"{_name(stack)}.*"):
            path.unlink(missing_ok=True)
        try:
            self.path.rmdir()
        except OSError:
            return

    def _variables(self, stack: Stack) -> Path:
        return self.path / f"{_name(stack)}.tfvars.json"


def _name(stack: Stack) -> str:
    return f"{stack.environment}.{stack.unit}.{stack.name}"
