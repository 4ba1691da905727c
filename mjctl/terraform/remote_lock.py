"""The lock of a unit in the state bucket, which excludes runs on all machines.

The lock is an object in S3, and S3 lets only a single run create the object. The holder renews the object every 30
seconds. If the holder has not renewed the object for two minutes, the holder counts as dead, and the next run takes the
lock over. Terraform's own lock of the state is another object in the bucket, which exists only while Terraform runs.
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
# Error codes with which S3 refuses a conditional write of the lock's object, because another run wrote the object
# before or at the same moment.
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


class HeldElsewhere(Exception):
    """Reports that another run holds the lock of a unit in the state bucket.

    Attributes:
        holder: The facts that the other run wrote into the lock: purpose, user, host and others.
    """

    def __init__(self, holder: dict[str, Any]) -> None:
        super().__init__()
        self.holder = holder


class RemoteLock:
    """Holds the lock of a unit in the state bucket.

    Every method raises UnreachableError if the bucket does not answer, PermissionDeniedError if AWS refuses access, and
    NotFoundError if the bucket does not exist.
    """

    def __init__(self, account: Account, key: str) -> None:
        """Create the lock without a request to AWS.

        Args:
            account: The AWS account that contains the state bucket.
            key: The key of the lock's object in the state bucket.
        """
        self._account = account
        self._key = key

    @contextmanager
    def held(self, note: Mapping[str, object], on_lost: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the lock of the unit during the block of a `with` statement.

        Args:
            note: Facts about this run, which a waiting run shows to its operator.
            on_lost: The function that another thread calls if another run has taken the lock over.

        Raises:
            HeldElsewhere: another run holds the lock of the unit.
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
        """Return the note of the run that holds the lock, or None if the lock is free or has expired."""
        stored = self._read()
        return None if stored is None or stored.age_seconds > DEAD_AFTER_SECONDS else stored.note

    def write(self, body: bytes, **condition: str) -> str | None:
        """Write the lock's object if the condition `condition` is true.

        Args:
            body: The content of the object.
            condition: S3's argument `IfMatch` with the ETag of the object to replace, or `IfNoneMatch` with `*` to
                create the object.

        Returns:
            The new ETag of the object, or None if the condition is false.
        """
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
        stored = self._read()
        if stored is None:
            etag = self.write(body, IfNoneMatch="*")
        elif stored.content == body:
            # The lock's object in S3 has this run's content, so this run holds the lock. S3's answer to the first write
            # was lost, and S3 refused boto3's repeated write.
            etag = stored.etag
        elif stored.age_seconds > DEAD_AFTER_SECONDS:
            etag = self.write(body, IfMatch=stored.etag)
        if etag is None:
            raise HeldElsewhere(stored.note if stored else {})
        return etag

    def _release(self, body: bytes) -> None:
        """Remove the lock if this run still holds it.

        If the bucket does not answer, the lock remains, and expires two minutes after its last renewal.
        """
        try:
            stored = self._account.read(self._key)
            if stored is not None and stored[0] == body:
                self._account.client("s3").delete_object(Bucket=self._account.bucket, Key=self._key)
        except Exception as error:
            # Ignore an error of AWS, so that it does not hide the result of the run. `explain` raises all other errors
            # again.
            self._account.explain(error, self._where)

    def renewed(self, body: bytes, etag: str) -> str | None:
        """Write the lock's object again, which gives the object a new time of modification in S3.

        Args:
            body: The content of the object.
            etag: The ETag of the lock's object after this run's last write.

        Returns:
            The new ETag, or None if another run holds the lock.
        """
        now = self.write(body, IfMatch=etag)
        if now is not None:
            return now
        # If S3's answer to a renewal is lost, boto3 repeats the write, and S3 refuses the repeated write because the
        # ETag has changed. This run still holds the lock if the stored object has this run's content.
        stored = self._read()
        return stored.etag if stored is not None and stored.content == body else None

    def _read(self) -> _StoredLock | None:
        try:
            answer = self._account.client("s3").get_object(Bucket=self._account.bucket, Key=self._key)
            content = answer["Body"].read()
        except Exception as error:
            if error_code(error) in ("NoSuchKey", "404"):
                return None
            raise self._account.explain(error, self._where) from error
        return _StoredLock(content, answer)

    @property
    def _where(self) -> str:
        return f"s3://{self._account.bucket}/{self._key}"


class _StoredLock:
    """Describes the lock's object in the bucket. `age_seconds` is independent of this machine's clock."""

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
    """Renews a lock in the state bucket every 30 seconds, until `stop` is called or another run holds the lock.

    If another run has taken the lock over, the thread does not take the lock back. After the loss of the unit's lock,
    Terraform's own lock still protects the state.
    """

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
                # Try again after 30 s, because the network may work again before the lock expires.
                continue
        if self._etag is None and self._on_lost is not None:
            self._on_lost()

    def stop(self) -> None:
        """Stop the renewals of the lock, and wait until the thread has ended."""
        self._stopped.set()
        self.join()
