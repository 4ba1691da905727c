"""What was deployed: code and configuration, named by their digests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """`game`, `terraform` and `config` are digests of the game's package, the Terraform code and the environment.

    `commit` is git's, with `+changes` when the working tree differs from it; None outside of a repository.
    """

    game: str
    terraform: str
    config: str
    commit: str | None = None

    @property
    def revision(self) -> str:
        """Twelve hexadecimal digits that change with any of the three; the commit is only a hint for people."""
        return hashlib.sha256("\0".join((self.game, self.terraform, self.config)).encode()).hexdigest()[:12]
