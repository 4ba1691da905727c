"""Reads a Terraform state from the state bucket with a single request, without running Terraform."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mjctl.clients.account import Account

# The ETag and the content of each state that this process has read. S3 does not send a state again if its ETag has not
# changed.
_seen: dict[RemoteState, tuple[str, bytes]] = {}


@dataclass(frozen=True)
class RemoteState:
    """Names a Terraform state in the state bucket.

    Attributes:
        account: The AWS account that contains the state bucket.
        key: The key of the state's object. Terraform's lock of the state is the object `KEY.tflock`.
    """

    account: Account
    key: str

    def backend_config(self) -> dict[str, str]:
        """Return the settings of the S3 backend that the Terraform code does not contain.

        Raises:
            NotFoundError: there is no state bucket.
            PermissionDeniedError: there are no credentials, or AWS refuses them.
            UnreachableError: AWS does not answer.
        """
        settings = {
            "bucket": self.account.bucket,
            "key": self.key,
            "kms_key_id": self.account.state_key_arn(),
            "region": self.account.state_region(),
        }
        return {**settings, "use_path_style": "true"} if self.account.emulated else settings

    def read(self) -> bytes:
        """Return the present state as JSON, or b"" if there is no state.

        Raises:
            NotFoundError: there is no state bucket.
            PermissionDeniedError: there are no credentials, or AWS refuses them.
            UnreachableError: AWS does not answer.
        """
        etag, before = _seen.get(self, (None, b""))
        stored = self.account.read(self.key, etag)
        if stored is None:
            _seen.pop(self, None)
            return b""
        content, now = stored
        if now == etag:
            return before
        _seen[self] = (now, content)
        return content

    def lock(self) -> dict[str, Any] | None:
        """Return Terraform's note in its lock of the state (ID, Who, Operation, Created), or None without a lock."""
        stored = self.account.read(self._lock_key)
        if stored is None:
            return None
        try:
            note = json.loads(stored[0])
        except ValueError:
            return {}
        return note if isinstance(note, dict) else {}

    def remove_lock(self) -> None:
        """Remove Terraform's lock of the state, also if a run holds it.

        Raises:
            NotFoundError: there is no state bucket.
            PermissionDeniedError: there are no credentials, or AWS refuses them.
            UnreachableError: AWS does not answer.
        """
        try:
            self.account.client("s3").delete_object(Bucket=self.account.bucket, Key=self._lock_key)
        except Exception as error:
            raise self.account.explain(error, f"s3://{self.account.bucket}/{self._lock_key}") from error

    @property
    def _lock_key(self) -> str:
        return f"{self.key}.tflock"
