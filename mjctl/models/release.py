"""The identity of a release: the digests of its code and configuration."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """Identifies a release by the digests of its parts.

    Attributes:
        game: The digest of the game server's files.
        terraform: The digest of the Terraform code.
        config: The digest of the environment's configuration.
        web: The digest of the web client; None if the release has no web client. In a release of an earlier version of
            mjctl, `web` is None, because the game server contained the web client.
        commit: The git commit, with `+changes` if the working tree differed from the commit; None if the checkout is
            not a git repository.
    """

    game: str
    terraform: str
    config: str
    commit: str | None = None
    web: str | None = None

    @property
    def is_short(self) -> bool:
        """Return whether an earlier version of mjctl made the release: its digests have 16 hexadecimal digits."""
        return len(self.game) < hashlib.sha256().digest_size * 2

    @property
    def revision(self) -> str:
        """Return the release's revision: twelve hexadecimal digits that change if any digest of the release changes.

        The revision does not depend on the git commit.
        """
        digests = [digest for digest in (self.game, self.terraform, self.config, self.web) if digest is not None]
        return hashlib.sha256("\0".join(digests).encode()).hexdigest()[:12]
