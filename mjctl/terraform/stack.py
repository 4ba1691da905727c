"""The stack of a unit: the Terraform code, the state and the private folder of the unit."""

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
    """Identifies a version of a Terraform state.

    Attributes:
        lineage: The id that the state keeps as long as it exists, or None if there is no state.
        serial: The serial number of the state, which Terraform raises with each write; None if there is no state.
    """

    lineage: str | None
    serial: int | None


@dataclass(frozen=True)
class Stack:
    """Describes the stack of a unit.

    Attributes:
        environment: The name of the environment.
        name: The name of the Terraform root in `terraform/stacks/`.
        unit: The name of the unit: a region, `foundation` or `edge`.
        source_dir: The folder of the Terraform root.
        folder: The private folder of the unit. `folder/terraform` contains TF_DATA_DIR, the variables, the plans and,
            for target `local`, the state.
        remote: The place of the state in the state bucket; None for target `local`, whose state is a file.
        digest: The digest of the Terraform code, or None if the digest was not computed yet.
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
        """Return the stack of a unit, with the Terraform code of the project folder.

        Raises:
            UnreachableError: the environment's sandbox does not run.
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
        """Return environment, unit and stack, for use in messages."""
        if self.name in (FOUNDATION, EDGE):
            return f"environment {self.environment}, stack {self.name}"
        return f"environment {self.environment}, region {self.unit}, stack {self.name}"

    @property
    def account(self) -> Account | None:
        """Return the account of the stack's resources, or None for target `local`."""
        return self.remote.account if self.remote else None

    @property
    def account_id(self) -> str:
        """Return the AWS account that a plan of this stack may change, or `local`."""
        return self.account.account_id if self.account else "local"

    @property
    def parallelism(self) -> int:
        """Return the number of operations that Terraform runs at the same time.

        On an emulated AWS, Terraform runs more operations at a time, because an emulator does not throttle requests.
        """
        return 30 if self.account and self.account.emulated else 20

    @property
    def terraform_dir(self) -> Path:
        """Return the folder with Terraform's files of this unit."""
        return self.folder / "terraform"

    @property
    def data_dir(self) -> Path:
        """Return Terraform's data folder (TF_DATA_DIR) of this unit."""
        return self.terraform_dir / "data"

    @property
    def state_file(self) -> Path:
        """Return the path of the state file of a local unit."""
        return self.terraform_dir / "terraform.tfstate"

    @property
    def variables_file(self) -> Path:
        """Return the file with the values of Terraform's variables that the next plan reads."""
        return self.terraform_dir / "variables.tfvars.json"

    @property
    def unit_files(self) -> UnitFiles:
        """Return the store of mjctl's files about this unit: the private folder, or the state bucket."""
        if self.remote is None:
            return UnitFiles(self.folder)
        return UnitFiles(self.folder, self.remote.account, f"{self.remote.key.removesuffix('.tfstate')}/")

    def applied_variables(self) -> dict[str, Any] | None:
        """Return the values of the variables in the last complete apply, or None if there was no complete apply."""
        try:
            variables = json.loads(self.unit_files.read(_APPLIED) or b"null")
        except ValueError:
            return None
        return variables if isinstance(variables, dict) else None

    def remember_applied(self) -> None:
        """Record the values of the variables of the plan that was just applied."""
        self.unit_files.write(_APPLIED, self.variables_file.read_text(encoding="utf-8"))

    def forget_applied(self) -> None:
        """Remove the record of the applied variables. Call this method after the destroy of the unit."""
        self.unit_files.remove(_APPLIED)

    @property
    def log_file(self) -> Path:
        """Return the log of all Terraform commands of this unit."""
        return self.folder / "logs" / "terraform.log"

    @property
    def lock_file(self) -> Path:
        """Return the file .terraform.lock.hcl, in which `terraform init` records the versions of the providers."""
        return self.source_dir / ".terraform.lock.hcl"

    @property
    def backend_config(self) -> dict[str, str]:
        """Return the settings of the backend that the Terraform code does not contain.

        Raises:
            NotFoundError: there is no state bucket.
            PermissionDeniedError: there are no credentials, or AWS refuses them.
            UnreachableError: AWS does not answer.
        """
        return self.remote.backend_config() if self.remote else {"path": str(self.state_file)}

    def prepare(self) -> None:
        """Create the private folders of the unit.

        Raises:
            PermissionDeniedError: this user may not create the folders.
        """
        with explained_disk_errors(self.where):
            for folder in (self.folder, self.terraform_dir, self.log_file.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def exists(self) -> bool:
        """Return whether the unit is deployed: its state contains resources."""
        state = self._state()
        return state.get("serial") is not None and bool(state.get("resources"))

    def position(self) -> StatePosition:
        """Return the lineage and the serial of the present state."""
        state = self._state()
        serial, lineage = state.get("serial"), state.get("lineage")
        return StatePosition(str(lineage) if lineage else None, int(serial) if serial is not None else None)

    def outputs(self) -> dict[str, Any]:
        """Return the outputs of the unit's last apply by name, or {} without outputs."""
        return {name: output["value"] for name, output in self._state().get("outputs", {}).items()}

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads(self.remote.read() if self.remote else self.state_file.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def source_digest(self) -> str:
        """Return the digest of all files below terraform/, on which `terraform init` and a plan depend."""
        return self.digest or source_digest(self.source_dir.parents[1])


def environment_files(workspace: Workspace, environment: Environment) -> UnitFiles:
    """Return the store of mjctl's files about the whole environment: its private folder, or the state bucket.

    Raises:
        UnreachableError: the environment's sandbox does not run.
    """
    folder = workspace.environment_dir(environment.name)
    if environment.target == "local":
        return UnitFiles(folder)
    return UnitFiles(folder, open_account(workspace, environment), f"{environment.project}-{environment.name}/")


def source_digest(root: Path) -> str:
    """Return the digest of the Terraform code below `root`, as a release contains it.

    Raises:
        NotFoundError: `root` contains no Terraform code.
        ConfigError: `root` contains a special file, or a link that release_files.files_below rejects.
    """
    files = terraform_files(root) if root.is_dir() else {}
    if not files:
        raise NotFoundError(
            "a release needs the Terraform code, and the folder of the Terraform code has no files",
            where=str(root),
            hint="check out the folder terraform/ again, or set MJCTL_PROJECT_DIR to a whole checkout",
        )
    return digest_of(files)
