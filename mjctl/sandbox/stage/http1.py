"""Parses the heads of HTTP/1.1 messages, and finds the ends of their bodies. The module changes no bytes.

https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

HEAD_END = b"\r\n\r\n"

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\s]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) (\d{3})(?: ([^\r\n]*))?")
_HEADER_NAME = re.compile(rb"[A-Za-z0-9-]+")
_DIGITS = re.compile(rb"\d+")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;.*)?")
_LONGEST_CHUNK_LINE = 4096
_WITHOUT_BODY = frozenset({204, 304})

Header = tuple[bytes, bytes]


class MalformedMessageError(Exception):
    """Reports that a message breaks the rules of HTTP/1.1."""


@dataclass(frozen=True)
class MessageHead:
    """Describes the head of a message: its first line and its headers.

    Attributes:
        headers: The names and values of the headers, in the order of the message.
        minor: The minor version of HTTP: 0 for HTTP/1.0, 1 for HTTP/1.1.
    """

    headers: Sequence[Header]
    minor: int

    def get(self, name: bytes) -> bytes | None:
        """Return the values of the header `name`, which is in lower case, with commas between them.

        Returns: None if the message does not have the header.
        """
        values = [value for key, value in self.headers if key.lower() == name]
        return b", ".join(values) if values else None

    def has_token(self, name: bytes, token: bytes) -> bool:
        """Return whether the comma-separated list in a header contains `token`, which is in lower case."""
        return token in {part.strip().lower() for part in (self.get(name) or b"").split(b",")}


@dataclass(frozen=True)
class RequestHead(MessageHead):
    """Describes the head of a request.

    Attributes:
        method: The HTTP method.
        target: The path and the query string.
    """

    method: bytes
    target: bytes


@dataclass(frozen=True)
class ResponseHead(MessageHead):
    """Describes the head of a response.

    Attributes:
        status: The HTTP status.
        reason: The text after the status in the first line, e.g. `Not Found`.
    """

    status: int
    reason: bytes


def parse_request(head: bytes) -> RequestHead:
    """Parse the head of a request. `head` does not include the empty line after the headers.

    Raises:
        MalformedMessageError: the head is malformed.
    """
    line, *rest = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise MalformedMessageError("the request line is malformed")
    return RequestHead(_headers(rest), int(match[3]), match[1], match[2])


def parse_response(head: bytes) -> ResponseHead:
    """Parse the head of a response. `head` does not include the empty line after the headers.

    Raises:
        MalformedMessageError: the head is malformed.
    """
    line, *rest = head.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise MalformedMessageError("the status line is malformed")
    return ResponseHead(_headers(rest), int(match[1]), int(match[2]), match[3] or b"")


def has_valid_name(header: Header) -> bool:
    """Return whether a load balancer accepts the name of a header: only A to Z, a to z, 0 to 9 and hyphens.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html
    """
    return _HEADER_NAME.fullmatch(header[0]) is not None


def _headers(lines: Sequence[bytes]) -> list[Header]:
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name.strip() or b"\n" in line or b"\0" in line:
            raise MalformedMessageError("a header is malformed")
        headers.append((name, value.strip(b" \t")))
    return headers


@dataclass
class BodyReader:
    """Finds the end of the body of a message.

    Attributes:
        remaining: The number of bytes to read until the end of a body with a known length or of the current chunk.
        chunked: Whether the body consists of chunks.
        until_close: Whether the body lasts until the other side closes the connection.
        done: Whether the body has ended.
        kept: The first bytes of the content, at most `keep` bytes.
        keep: The largest number of bytes in `kept`.
    """

    remaining: int = 0
    chunked: bool = False
    until_close: bool = False
    done: bool = False
    kept: bytearray = field(default_factory=bytearray)
    keep: int = 0
    _line: bytearray = field(default_factory=bytearray)
    _state: str = "size"

    @classmethod
    def of_request(cls, head: RequestHead, keep: int = 0) -> BodyReader:
        """Return a reader for the body of a request.

        Raises:
            MalformedMessageError: the headers contradict each other.
        """
        reader = cls(keep=keep)
        reader._read_headers(head)
        reader.done = not reader.chunked and reader.remaining == 0
        return reader

    @classmethod
    def of_response(cls, head: ResponseHead, method: bytes) -> BodyReader:
        """Return a reader for the body of the response to a request with `method`.

        Raises:
            MalformedMessageError: the headers contradict each other.
        """
        reader = cls()
        if method == b"HEAD" or head.status in _WITHOUT_BODY or head.status < 200:
            reader.done = True
            return reader
        reader._read_headers(head)
        reader.until_close = not reader.chunked and head.get(b"content-length") is None
        reader.done = not reader.chunked and not reader.until_close and reader.remaining == 0
        return reader

    def _read_headers(self, head: MessageHead) -> None:
        length, encoding = head.get(b"content-length"), head.get(b"transfer-encoding")
        if encoding is not None:
            # Refuse a message with both headers, because the message can hide a second request: https://www.rfc-editor.org/rfc/rfc9112#section-6.1
            if length is not None or encoding.strip().lower() != b"chunked":
                raise MalformedMessageError("the length of the body is ambiguous")
            self.chunked = True
        elif length is not None:
            values = {part.strip() for part in length.split(b",")}
            if len(values) != 1 or not _DIGITS.fullmatch(value := values.pop()):
                raise MalformedMessageError("the length of the body is ambiguous")
            self.remaining = int(value)

    def feed(self, data: bytes | bytearray | memoryview) -> int:
        """Process bytes of the connection. Returns: the number of bytes that belong to the body.

        Raises:
            MalformedMessageError: a chunk is malformed.
        """
        view = memoryview(data)
        used = 0
        while used < len(view) and not self.done:
            used += self._step(view[used:])
        return used

    def _step(self, view: memoryview) -> int:
        if self.until_close:
            self._keep(view)
            return len(view)
        if not self.chunked or self._state == "data":
            taken = min(self.remaining, len(view))
            self._keep(view[:taken])
            self.remaining -= taken
            if self.remaining == 0:
                self._state = "after data"
                self.done = not self.chunked
            return taken
        return self._read_line(view)

    def _read_line(self, view: memoryview) -> int:
        """Read a part of a line between two chunks, e.g. of the line with the next chunk's size."""
        end = bytes(view[:_LONGEST_CHUNK_LINE]).find(b"\n")
        taken = len(view[:_LONGEST_CHUNK_LINE]) if end < 0 else end + 1
        self._line += view[:taken]
        if len(self._line) > _LONGEST_CHUNK_LINE:
            raise MalformedMessageError("a line between chunks is too long")
        if end < 0:
            return taken
        line = bytes(self._line)
        self._line.clear()
        if not line.endswith(b"\r\n"):
            raise MalformedMessageError("a line between chunks is malformed")
        self._end_line(line[:-2])
        return taken

    def _end_line(self, line: bytes) -> None:
        if self._state == "size":
            match = _CHUNK_SIZE.fullmatch(line)
            if match is None:
                raise MalformedMessageError("the size of a chunk is malformed")
            self.remaining = int(match[1], 16)
            self._state = "data" if self.remaining else "trailers"
        elif self._state == "after data":
            if line:
                raise MalformedMessageError("a chunk is longer than its size")
            self._state = "size"
        elif not line:
            self.done = True

    def _keep(self, content: memoryview) -> None:
        if len(self.kept) < self.keep:
            self.kept += content[: self.keep - len(self.kept)]
