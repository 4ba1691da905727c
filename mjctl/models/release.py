"""What was deployed: code and configuration, named by their digests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """Names the parts of a release by digests.

    Attributes:
        game: of the game server.
        terraform: of the Terraform code.
        config: of the environment.
        web: of the web client; None where there is none, and in an earlier release, whose game server contains it.
        commit: git's, with `+changes` when the working tree differs from it; None outside of a repository.
    """

    game: str
    terraform: str
    config: str
    commit: str | None = None
    web: str | None = None

    @property
    def is_short(self) -> bool:
        """Tell whether an earlier version of mjctl made the release: its digests have 16 hexadecimal digits."""
        return len(self.game) < hashlib.sha256().digest_size * 2

    @property
    def revision(self) -> str:
        """Twelve hexadecimal digits that change with any digest; the commit is only a hint for people."""
        digests = [digest for digest in (self.game, self.terraform, self.config, self.web) if digest is not None]
        return hashlib.sha256("\0".join(digests).encode()).hexdigest()[:12]
