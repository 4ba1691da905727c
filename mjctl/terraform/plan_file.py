"""Saved plans and their seals.

A plan file of Terraform contains the identity of the state, but not the region. An apply of the plan file in the data
folder of another region would change the state of the region for which the plan was made. The seal next to a plan file
names the unit of the plan, and mjctl checks the seal before the apply. A plan file contains unencrypted variables, so
mjctl keeps the file in a private folder and removes the file after the apply.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mjctl.files import write_private
from mjctl.models.errors import ConflictError
from mjctl.terraform.stack import Stack


@dataclass(frozen=True)
class Binding:
    """Names the release to which a saved plan is bound.

    Attributes:
        revision: The revision of the release; "" for a plan without a release.
    """

    revision: str = ""


@dataclass(frozen=True)
class Seal:
    """Records the stack, account, release, state, code and variables for which a plan was made.

    Attributes:
        environment: The name of the environment.
        stack: The name of the Terraform root in `terraform/stacks/`.
        region: The name of the unit: a region, `foundation` or `edge`.
        account: The AWS account that the plan may change, or `local`.
        revision: The revision of the release; "" for a plan without a release.
        lineage: The lineage of the state, or None if there was no state.
        serial: The serial of the state, or None if there was no state.
        source: The digest of the Terraform code of the plan.
        variables: The digest of the file with the values of Terraform's variables.
        plan: The digest of the plan file.
        made_at: The time at which the plan was made, in seconds since 1970.
    """

    environment: str
    stack: str
    region: str
    account: str
    revision: str
    lineage: str | None
    serial: int | None
    source: str
    variables: str
    plan: str
    made_at: float


@dataclass(frozen=True)
class SavedPlan:
    """Names a plan file, and writes and checks the seal of the plan file.

    Attributes:
        path: The path of the plan file.
        binding: The release to which the plan is bound.
    """

    path: Path
    binding: Binding = Binding()

    @property
    def seal_path(self) -> Path:
        """Return the path of the plan's seal, which is next to the plan file."""
        return self.path.with_suffix(".seal.json")

    def seal(self, stack: Stack) -> None:
        """Write the seal of a new plan file, which binds the plan to `stack` and the present state."""
        self.path.chmod(0o600)
        write_private(self.seal_path, json.dumps(asdict(self._seal_of(stack, time.time()))))

    def verify(self, stack: Stack) -> None:
        """Check that the plan was made for `stack`, and that state, code and plan file have not changed since.

        Raises:
            ConflictError: the plan was made for another stack, account or release, or the state, code or plan file has
                changed.
        """
        try:
            sealed = Seal(**json.loads(self.seal_path.read_text(encoding="utf-8")))
            now = self._seal_of(stack, sealed.made_at)
        except (OSError, ValueError, TypeError) as error:
            raise ConflictError(
                f"the saved plan cannot be verified: {type(error).__name__}", where=str(self.path), hint=_AGAIN
            ) from None
        for name, reason in _REASONS.items():
            if getattr(sealed, name) != getattr(now, name):
                raise ConflictError(
                    f"the saved plan cannot be applied: {reason} "
                    f"(planned with {_short(getattr(sealed, name))}, now {_short(getattr(now, name))})",
                    where=f"{stack.where}, {self.path}",
                    hint=_AGAIN,
                )

    def remove(self) -> None:
        """Remove the plan file and its seal, if they exist."""
        self.path.unlink(missing_ok=True)
        self.seal_path.unlink(missing_ok=True)

    def _seal_of(self, stack: Stack, made_at: float) -> Seal:
        state = stack.position()
        return Seal(
            environment=stack.environment,
            stack=stack.name,
            region=stack.unit,
            account=stack.account_id,
            revision=self.binding.revision,
            lineage=state.lineage,
            serial=state.serial,
            source=stack.source_digest(),
            variables=_digest(stack.variables_file),
            plan=_digest(self.path),
            made_at=made_at,
        )


_AGAIN = "make a new plan (`mjctl plan --region REGION --out DIR`), or deploy without a saved plan"
_REASONS = {
    "environment": "it was made for another environment",
    "stack": "it was made for another stack",
    "region": "it was made for another region",
    "account": "it was made for another account",
    "revision": "game code, Terraform code or the environment's file has changed since the plan",
    "lineage": "another state has replaced the state since the plan",
    "serial": "the state has changed since the plan",
    "source": "the Terraform code has changed since the plan",
    "variables": "the variables have changed since the plan",
    "plan": "the plan file has changed since the plan was made",
}


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or the text `missing` if the file does not exist."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) else str(value)
