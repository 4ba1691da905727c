"""A unit's lock in the state bucket: one run at a time, on whichever machine it is.

An object that only one can create. Its holder renews it; one that was not renewed for two minutes belongs to a run that
died, and the next takes it over. Terraform's own lock of the state is another, held while Terraform runs.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

from mjctl.clients.account import Account
from mjctl.clients.error_codes import error_code
from mjctl.models.errors import MjctlError

RENEWED_EVERY_SECONDS = 30.0
DEAD_AFTER_SECONDS = 120.0
# Somebody else was quicker; ConditionalRequestConflict: at the same moment.
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


class HeldElsewhere(Exception):
    """Somebody holds the lock; `holder` is what they said of themselves."""

    def __init__(self, holder: dict[str, Any]) -> None:
        super().__init__()
        self.holder = holder


class RemoteLock:
    """`key` is the object's.

    Raises:
        As Account.explain, where the bucket does not answer or refuses.
    """

    def __init__(self, account: Account, key: str) -> None:
        self._account = account
        self._key = key

    @contextmanager
    def held(self, note: Mapping[str, object], on_lost: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the lock, with `note` for others to read.

        Args:
            on_lost: Called, in another thread, once another run has taken the lock over.

        Raises:
            HeldElsewhere: somebody else does.
        """
        body = json.dumps({**note, "lock": secrets.token_hex(8)}).encode()
        etag = self._take(body)
        renewal = _Renewal(self, body, etag, on_lost)
        renewal.start()
        try:
            yield
        finally:
            renewal.stop()
            self._release(body)

    def holder(self) -> dict[str, Any] | None:
        """Who holds the lock now; None when nobody does, or one that has died."""
        found = self._read()
        return None if found is None or found.age_seconds > DEAD_AFTER_SECONDS else found.note

    def write(self, body: bytes, **condition: str) -> str | None:
        """Write the object if `condition` (IfMatch or IfNoneMatch) holds; its ETag, None when it does not."""
        try:
            done = self._account.client("s3").put_object(
                Bucket=self._account.bucket, Key=self._key, Body=body, **condition
            )
        except Exception as error:
            if error_code(error) in _TAKEN:
                return None
            raise self._account.explain(error, self._where) from error
        return str(done["ETag"])

    def _take(self, body: bytes) -> str:
        etag = self.write(body, IfNoneMatch="*")
        if etag is not None:
            return etag
        found = self._read()
        if found is None:
            etag = self.write(body, IfNoneMatch="*")
        elif found.content == body:
            # The answer to the first write was lost, and the client has sent it again.
            etag = found.etag
        elif found.age_seconds > DEAD_AFTER_SECONDS:
            etag = self.write(body, IfMatch=found.etag)
        if etag is None:
            raise HeldElsewhere(found.note if found else {})
        return etag

    def _release(self, body: bytes) -> None:
        """Remove the lock if it is still this run's; what the bucket refuses now expires by itself."""
        try:
            found = self._account.read(self._key)
            if found is not None and found[0] == body:
                self._account.client("s3").delete_object(Bucket=self._account.bucket, Key=self._key)
        except Exception as error:
            # A network that is down now must not hide how the run ended. Any other fault is raised.
            self._account.explain(error, self._where)

    def renewed(self, body: bytes, etag: str) -> str | None:
        """Write the lock again. Returns: its ETag; None if another run holds it."""
        now = self.write(body, IfMatch=etag)
        if now is not None:
            return now
        # The answer to a renewal can be lost. The client then sends it again, and is refused for its own first write.
        found = self._read()
        return found.etag if found is not None and found.content == body else None

    def _read(self) -> _Found | None:
        try:
            answer = self._account.client("s3").get_object(Bucket=self._account.bucket, Key=self._key)
            content = answer["Body"].read()
        except Exception as error:
            if error_code(error) in ("NoSuchKey", "404"):
                return None
            raise self._account.explain(error, self._where) from error
        return _Found(content, answer)

    @property
    def _where(self) -> str:
        return f"s3://{self._account.bucket}/{self._key}"


class _Found:
    """The lock as it lies there. Its age is told by the bucket's clock alone."""

    def __init__(self, content: bytes, answer: Mapping[str, Any]) -> None:
        self.content = content
        self.etag = str(answer["ETag"])
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        self.age_seconds = (now - answer["LastModified"]).total_seconds()
        try:
            note = json.loads(content)
        except ValueError:
            note = {}
        self.note: dict[str, Any] = note if isinstance(note, dict) else {}


class _Renewal(threading.Thread):
    """Renews a lock until it is stopped. A lost one is not taken back: Terraform's own still guards the state."""

    def __init__(self, lock: RemoteLock, body: bytes, etag: str, on_lost: Callable[[], None] | None) -> None:
        super().__init__(name="lock-renewal", daemon=True)
        self._lock = lock
        self._body = body
        self._etag: str | None = etag
        self._on_lost = on_lost
        self._stopped = threading.Event()

    def run(self) -> None:
        while self._etag is not None and not self._stopped.wait(RENEWED_EVERY_SECONDS):
            try:
                self._etag = self._lock.renewed(self._body, self._etag)
            except MjctlError:
                # The network may come back before the lock counts as dead.
                continue
        if self._etag is None and self._on_lost is not None:
            self._on_lost()

    def stop(self) -> None:
        self._stopped.set()
        self.join()
