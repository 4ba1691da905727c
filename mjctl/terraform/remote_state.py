"""A state in the account's state bucket, read without Terraform: no init, no provider, one request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mjctl.clients.account import Account

# What was read last, by account and key, with its ETag: a state that has not changed is not sent again.
_seen: dict[RemoteState, tuple[str, bytes]] = {}


@dataclass(frozen=True)
class RemoteState:
    """`key` is the object's; a lock is an object beside it."""

    account: Account
    key: str

    def backend_config(self) -> dict[str, str]:
        """Settings of the S3 backend that the stacks leave open.

        Raises:
            NotFoundError: there is no state bucket yet.
            As Account.check_identity.
        """
        settings = {
            "bucket": self.account.bucket,
            "key": self.key,
            "kms_key_id": self.account.state_key_arn(),
            "region": self.account.state_region(),
        }
        return {**settings, "use_path_style": "true"} if self.account.emulated else settings

    def read(self) -> bytes:
        """The state as it is now, b"" where there is none.

        Raises:
            As Account.read.
        """
        etag, before = _seen.get(self, (None, b""))
        found = self.account.read(self.key, etag)
        if found is None:
            _seen.pop(self, None)
            return b""
        content, now = found
        if now == etag:
            return before
        _seen[self] = (now, content)
        return content

    def lock(self) -> dict[str, Any] | None:
        """Terraform's note of who holds the state (ID, Who, Operation, Created); None when nobody does."""
        found = self.account.read(self._lock_key)
        if found is None:
            return None
        try:
            note = json.loads(found[0])
        except ValueError:
            return {}
        return note if isinstance(note, dict) else {}

    def remove_lock(self) -> None:
        """Remove Terraform's lock, whoever holds it.

        Raises:
            As Account.read.
        """
        try:
            self.account.client("s3").delete_object(Bucket=self.account.bucket, Key=self._lock_key)
        except Exception as error:
            raise self.account.explain(error, f"s3://{self.account.bucket}/{self._lock_key}") from error

    @property
    def _lock_key(self) -> str:
        return f"{self.key}.tflock"
