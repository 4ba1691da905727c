"""Saved plans, bound to what they were made for.

Terraform's own plan file knows its state but not its region: applied under another region's data folder it changes the
first region's state. So each plan has a seal beside it, checked before apply. A plan holds variables in clear, so it
lies in a private folder and is removed once used.
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
    """What a plan is bound to beside its stack and its account: the release."""

    revision: str = ""


@dataclass(frozen=True)
class Seal:
    """What a plan was made for. `serial` is the state's; `source` digests HCL and YAML, `plan` the plan file."""

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
    """A plan file and its seal beside it."""

    path: Path
    binding: Binding = Binding()

    @property
    def seal_path(self) -> Path:
        return self.path.with_suffix(".seal.json")

    def seal(self, stack: Stack) -> None:
        """Bind the file just written to its stack and to the state as it is now."""
        self.path.chmod(0o600)
        write_private(self.seal_path, json.dumps(asdict(self._seal_of(stack, time.time()))))

    def verify(self, stack: Stack) -> None:
        """Check that the plan still fits.

        Raises:
            ConflictError: it was made for something else, or state, code or file have changed since.
        """
        try:
            made = Seal(**json.loads(self.seal_path.read_text(encoding="utf-8")))
            now = self._seal_of(stack, made.made_at)
        except (OSError, ValueError, TypeError) as error:
            raise ConflictError(
                f"the saved plan cannot be verified: {type(error).__name__}", where=str(self.path), hint=_AGAIN
            ) from None
        for name, reason in _REASONS.items():
            if getattr(made, name) != getattr(now, name):
                raise ConflictError(
                    f"the saved plan does not fit: {reason} "
                    f"(made for {_short(getattr(made, name))}, now {_short(getattr(now, name))})",
                    where=f"{stack.where}, {self.path}",
                    hint=_AGAIN,
                )

    def remove(self) -> None:
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


_AGAIN = "make a new plan: `mjctl plan --region REGION --out DIR`, or deploy without a saved one"
_REASONS = {
    "environment": "it is of another environment",
    "stack": "it is of another stack",
    "region": "it is of another region",
    "account": "it is of another account",
    "revision": "the game's code, the Terraform code or the environment's file has changed since",
    "lineage": "the state was replaced by another one",
    "serial": "the state has moved since",
    "source": "the Terraform code has changed since",
    "variables": "the variables have changed since",
    "plan": "the file has changed since",
}


def _digest(path: Path) -> str:
    """SHA-256 of a file; a missing one has none, so it equals no digest that was ever made."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) else str(value)
