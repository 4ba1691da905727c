"""Keeps the mails and text messages that AWS would send to the players and operators of a sandbox."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mjctl.files import append_private


@dataclass(frozen=True)
class SentMessage:
    """Describes a mail or a text message.

    Attributes:
        id: The id of the message.
        sent_at: The time at which AWS would send the message, in seconds since 1970.
        sender: The sender's address, or an empty text for a text message.
        to: The addresses or phone numbers of all recipients.
        subject: The subject of a mail, or an empty text for a text message.
        text: The text of the message, or the HTML of a mail that has only HTML.
        kind: The kind of the message, e.g. `CognitoVerificationMessage`, `SnsNotification`, `SMS`.
    """

    id: str
    sent_at: float
    sender: str
    to: Sequence[str]
    subject: str
    text: str
    kind: str


class MessageLog:
    """Appends messages to a private file, but no message with the id of an earlier message."""

    def __init__(self, file: Path) -> None:
        """Read the messages that are in the file already.

        Args:
            file: A file with one message in JSON on each line. The file of messages is private, because messages
                contain codes by which another user could log in to accounts.
        """
        self._file = file
        self._lock = threading.Lock()
        self._known = {message.id for message in read_messages(file)}

    def add(self, message: SentMessage) -> None:
        """Write a message to the file, unless the file contains a message with an equal id."""
        with self._lock:
            if message.id in self._known:
                return
            self._known.add(message.id)
            with append_private(self._file) as stream:
                stream.write(json.dumps(asdict(message)) + "\n")


def read_messages(file: Path, to: str | None = None) -> list[SentMessage]:
    """Return the messages in a file, the oldest first. An incomplete last line is skipped.

    Args:
        file: The file of a `MessageLog`.
        to: An address or a phone number. Return only messages to the recipient `to`, and ignore upper and lower case.
    """
    if not file.exists():
        return []
    messages = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            message = SentMessage(**json.loads(line))
        except (ValueError, TypeError):
            continue
        if to is None or to.casefold() in {address.casefold() for address in message.to}:
            messages.append(message)
    return messages
