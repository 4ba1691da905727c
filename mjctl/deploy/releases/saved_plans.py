"""Keeps plans in a folder between `plan --out` and `deploy --plans`.

A pipeline's first job plans, a person approves the plans, and a second job applies them.

For each unit the folder of saved plans contains the plan, the seal, and the Terraform variables of the plan. Plans and
variables may contain secrets in clear text. The folder of saved plans is therefore private, and the apply of a saved
plan removes the unit's files from the folder.
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
    """Saves, verifies and removes the plans in one folder.

    Attributes:
        path: The path of the folder.
    """

    path: Path

    def prepare(self) -> None:
        """Create the folder for saved plans unless it exists, and deny other users access to the folder.

        Raises:
            PermissionDeniedError: This user may not write to the folder for saved plans, or its path is not a folder.
        """
        with explained_disk_errors(str(self.path)):
            if self.path.exists() and not self.path.is_dir():
                raise PermissionDeniedError(
                    "plans are saved in a folder, and this path is not a folder",
                    where=str(self.path),
                    hint="name a folder for the plans, or a path that does not exist yet",
                )
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)

    def saved(self, stack: Stack, binding: Binding) -> SavedPlan:
        """Return the saved plan of a unit, whose file may not exist yet.

        Args:
            stack: The stack of the unit.
            binding: The release to which the plan is bound.
        """
        return SavedPlan(self.path / f"{_name(stack)}.tfplan", binding)

    def keep_variables(self, stack: Stack, variables: Mapping[str, Any]) -> None:
        """Save the Terraform variables of a unit's plan."""
        write_private(self._variables(stack), json.dumps(variables, indent=2, sort_keys=True))

    def load_saved(self, stack: Stack, binding: Binding, wanted: Mapping[str, Any]) -> SavedPlan:
        """Return the saved plan of a unit after a check that a new plan would make the same changes.

        Args:
            stack: The stack of the unit.
            binding: The release to which the saved plan must be bound.
            wanted: The Terraform variables that a new plan would have.

        Raises:
            NotFoundError: The folder has no saved plan of the unit.
            ConflictError: The saved plan belongs to another unit or release, or the code, the variables, the account or
                the state have changed since the plan was made.
        """
        saved = self.saved(stack, binding)
        if not saved.path.is_file():
            known = ", ".join(sorted(path.stem for path in self.path.glob("*.tfplan"))) or "none"
            raise NotFoundError(
                f"the folder has no saved plan of {stack.unit}",
                where=str(self.path),
                hint=f"plans in the folder: {known}",
            )
        made_with = read_json(self._variables(stack))
        differing = sorted(name for name in {*made_with, *wanted} if made_with.get(name) != wanted.get(name))
        # Raise no error here if the variable `revision` differs: the game server's code has changed, and `verify` below
        # raises a clearer error about the code.
        if differing and "revision" not in differing:
            raise ConflictError(
                f"the saved plan cannot be applied: these variables have other values now: {', '.join(differing)}",
                where=f"{stack.where}, {saved.path}",
                hint=_AGAIN,
            )
        write_private(stack.variables_file, self._variables(stack).read_text(encoding="utf-8"))
        saved.verify(stack)
        return saved

    def remove(self, stack: Stack) -> None:
        """Remove the saved plan, seal and variables of a unit, and remove the folder if no other file remains."""
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
