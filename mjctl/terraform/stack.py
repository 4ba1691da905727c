"""One stack: a Terraform root, the state it writes, and the private folder in which both are worked on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mjctl.clients.account import Account, open_account
from mjctl.files import explained_disk_errors
from mjctl.models.environment import EDGE, FOUNDATION, Environment
from mjctl.models.errors import NotFoundError
from mjctl.models.release_files import digest_of, terraform_files
from mjctl.models.workspace import Workspace
from mjctl.terraform.remote_state import RemoteState
from mjctl.terraform.unit_files import UnitFiles

_APPLIED = "terraform/applied.tfvars.json"


@dataclass(frozen=True)
class StatePosition:
    """`lineage` names a state, `serial` counts its writes; both None where there is no state."""

    lineage: str | None
    serial: int | None


@dataclass(frozen=True)
class Stack:
    """`folder` is the unit's own, private one; TF_DATA_DIR, variables and plans lie in folder/terraform.

    `unit`: a region's name, or `foundation` and `edge` for what exists once. The state lies in
    folder/terraform too, unless there is a `remote` one. `digest` is that of the code, where it is known already.
    """

    environment: str
    name: str
    unit: str
    source_dir: Path
    folder: Path
    remote: RemoteState | None = None
    digest: str | None = None

    @classmethod
    def of_unit(cls, workspace: Workspace, environment: Environment, unit: str) -> Stack:
        """The stack of one unit, with the code of the working tree.

        Raises:
            UnreachableError: the environment's sandbox is not up.
        """
        remote = None
        name = "local"
        if environment.target != "local":
            name = unit if unit in (FOUNDATION, EDGE) else "region"
            key = f"{environment.project}-{environment.name}/{unit}.tfstate"
            remote = RemoteState(open_account(workspace, environment), key)
        return cls(
            environment=environment.name,
            name=name,
            unit=unit,
            source_dir=workspace.stack_dir(name),
            folder=workspace.region_dir(environment.name, unit),
            remote=remote,
        )

    @property
    def where(self) -> str:
        if self.name in (FOUNDATION, EDGE):
            return f"environment {self.environment}, stack {self.name}"
        return f"environment {self.environment}, region {self.unit}, stack {self.name}"

    @property
    def account(self) -> Account | None:
        """Where the stack's resources are; None for the local target."""
        return self.remote.account if self.remote else None

    @property
    def account_id(self) -> str:
        """What a plan of this stack may change: an account, or `local`."""
        return self.account.account_id if self.account else "local"

    @property
    def parallelism(self) -> int:
        """Operations at the same time; an emulator throttles nobody."""
        return 30 if self.account and self.account.emulated else 20

    @property
    def terraform_dir(self) -> Path:
        return self.folder / "terraform"

    @property
    def data_dir(self) -> Path:
        return self.terraform_dir / "data"

    @property
    def state_file(self) -> Path:
        """Where the state lies, unless it is remote."""
        return self.terraform_dir / "terraform.tfstate"

    @property
    def variables_file(self) -> Path:
        """What the next plan reads."""
        return self.terraform_dir / "variables.tfvars.json"

    @property
    def unit_files(self) -> UnitFiles:
        """Notes on this unit, kept where its state is."""
        if self.remote is None:
            return UnitFiles(self.folder)
        return UnitFiles(self.folder, self.remote.account, f"{self.remote.key.removesuffix('.tfstate')}/")

    def applied_variables(self) -> dict[str, Any] | None:
        """What the last apply was given; None where the unit was never wholly applied."""
        try:
            found = json.loads(self.unit_files.read(_APPLIED) or b"null")
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def remember_applied(self) -> None:
        """Keep what the plan that was just applied was made with."""
        self.unit_files.write(_APPLIED, self.variables_file.read_text(encoding="utf-8"))

    def forget_applied(self) -> None:
        """The unit is gone."""
        self.unit_files.remove(_APPLIED)

    @property
    def log_file(self) -> Path:
        return self.folder / "logs" / "terraform.log"

    @property
    def lock_file(self) -> Path:
        """Terraform's record of the providers that it chose for this code; init writes it."""
        return self.source_dir / ".terraform.lock.hcl"

    @property
    def backend_config(self) -> dict[str, str]:
        """Raises: as RemoteState.backend_config."""
        return self.remote.backend_config() if self.remote else {"path": str(self.state_file)}

    def prepare(self) -> None:
        """Make the private folders.

        Raises:
            PermissionDeniedError: this user may not create them.
        """
        with explained_disk_errors(self.where):
            for folder in (self.folder, self.terraform_dir, self.log_file.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def exists(self) -> bool:
        """Whether an apply has ever left a state that holds something."""
        state = self._state()
        return state.get("serial") is not None and bool(state.get("resources"))

    def position(self) -> StatePosition:
        """Which state it is now, and how often it was written."""
        state = self._state()
        serial, lineage = state.get("serial"), state.get("lineage")
        return StatePosition(str(lineage) if lineage else None, int(serial) if serial is not None else None)

    def outputs(self) -> dict[str, Any]:
        """What the last apply published; {} where nothing was."""
        return {name: found["value"] for name, found in self._state().get("outputs", {}).items()}

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads(self.remote.read() if self.remote else self.state_file.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def source_digest(self) -> str:
        """Return the digest of the code below terraform/: what `init` and the plan depend on."""
        return self.digest or source_digest(self.source_dir.parents[1])


def environment_files(workspace: Workspace, environment: Environment) -> UnitFiles:
    """Notes on the whole environment, kept where its states are.

    Raises:
        UnreachableError: the environment's sandbox is not up.
    """
    folder = workspace.environment_dir(environment.name)
    if environment.target == "local":
        return UnitFiles(folder)
    return UnitFiles(folder, open_account(workspace, environment), f"{environment.project}-{environment.name}/")


def source_digest(root: Path) -> str:
    """Return the digest of the Terraform code below `root`, as it stands in a release.

    Raises:
        NotFoundError: there is no Terraform code.
        ConfigError: a link or a special file lies there, see release_files.files_below.
    """
    files = terraform_files(root) if root.is_dir() else {}
    if not files:
        raise NotFoundError(
            "a release needs the Terraform code, and there are no files of it",
            where=str(root),
            hint="check out the folder terraform/ again, or set MJCTL_PROJECT_DIR to a whole checkout",
        )
    return digest_of(files)
