"""One stack: a Terraform root, the state it writes, and the private folder in which both are worked on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mjctl.models.environment import Environment
from mjctl.models.errors import MjctlError, PermissionDeniedError
from mjctl.models.workspace import Workspace

_STACK_OF_TARGET = {"local": "local", "sandbox": "region", "aws": "region"}


@dataclass(frozen=True)
class Stack:
    """`folder` is the region's own, private one; TF_DATA_DIR, state, variables and plans lie in folder/terraform."""

    environment: str
    name: str
    region: str
    source_dir: Path
    folder: Path

    @classmethod
    def of_region(cls, workspace: Workspace, environment: Environment, region: str) -> Stack:
        name = _STACK_OF_TARGET[environment.target]
        return cls(
            environment=environment.name,
            name=name,
            region=region,
            source_dir=workspace.stack_dir(name),
            folder=workspace.region_dir(environment.name, region),
        )

    @property
    def where(self) -> str:
        return f"environment {self.environment}, region {self.region}, stack {self.name}"

    @property
    def terraform_dir(self) -> Path:
        return self.folder / "terraform"

    @property
    def data_dir(self) -> Path:
        return self.terraform_dir / "data"

    @property
    def state_file(self) -> Path:
        return self.terraform_dir / "terraform.tfstate"

    @property
    def variables_file(self) -> Path:
        """What the next plan reads; `applied_variables_file` is what the last apply was given."""
        return self.terraform_dir / "variables.tfvars.json"

    @property
    def applied_variables_file(self) -> Path:
        return self.terraform_dir / "applied.tfvars.json"

    @property
    def log_file(self) -> Path:
        return self.folder / "logs" / "terraform.log"

    @property
    def backend_config(self) -> dict[str, str]:
        return {"path": str(self.state_file)}

    def prepare(self) -> None:
        """Make the private folders.

        Raises:
            PermissionDeniedError: the disk refuses.
        """
        with explained_disk_errors(self.where):
            for folder in (self.folder, self.terraform_dir, self.log_file.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def exists(self) -> bool:
        """Whether an apply has ever left a state that holds something."""
        return self.serial() is not None and bool(self._state().get("resources"))

    def serial(self) -> int | None:
        """The state's serial number, None where there is no state."""
        serial = self._state().get("serial")
        return int(serial) if serial is not None else None

    def lineage(self) -> str | None:
        lineage = self._state().get("lineage")
        return str(lineage) if lineage else None

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads(self.state_file.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def source_digest(self) -> str:
        """A digest of all HCL and YAML below terraform/: what `init` and the plan depend on."""
        return source_digest(self.source_dir.parents[1])


def source_digest(root: Path) -> str:
    """A digest of all HCL and YAML below `root`."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in (".tf", ".yaml", ".hcl") and ".terraform" not in path.parts and path.is_file():
            digest.update(f"{path.relative_to(root)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def write_private(path: Path, text: str) -> None:
    """Write whole or not at all, readable by this user only."""
    with explained_disk_errors(str(path)):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def explained_disk_errors(where: str) -> Iterator[None]:
    """Turn what the disk refuses into an error that names the path."""
    try:
        yield
    except (PermissionError, NotADirectoryError) as error:
        raise PermissionDeniedError(
            f"the disk refuses: {error.strerror}",
            where=f"{error.filename or where}",
            hint="give this user the right to write there, or set MJCTL_HOME to a folder that it may write to",
        ) from None
    except OSError as error:
        raise MjctlError(
            f"the disk refuses: {error.strerror}",
            where=f"{error.filename or where}",
            hint="free space or choose another disk with MJCTL_HOME",
        ) from None
