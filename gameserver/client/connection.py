"""Keeps a player's connection to a match: sends inputs, receives frames, and reconnects automatically.

The connection reconnects when its game server dies or hands the match over.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from picows import WSError, ws_connect

from gameserver.client.play_socket import USER_AGENT, PlaySocket
from gameserver.protocol import (
    MAX_SERVER_FRAME_BYTES,
    ChatLine,
    Codec,
    Ended,
    Event,
    Frame,
    Full,
    Hello,
    Input,
    Leave,
    MatchInfo,
    Redirect,
    RefusalCode,
    Refused,
    Say,
    ServerMessage,
    Servers,
    Unsaid,
    Welcome,
)

Update = Welcome | Frame | Full
"""The messages that describe the state of the match."""

_STALLED_SECONDS: Final = 1.2
"""A server that has sent nothing for this time counts as dead. A healthy server sends at least twice a second."""

_RESUME_SECONDS: Final = 20.0
"""Time in which a lost connection must find a server, before `ConnectionLost` is raised."""

_RETRY_SECONDS: Final = 0.1
_HANDSHAKE_SECONDS: Final = 4.0
"""Time for an answer to `Hello`.

This time is longer than the 3 s for which a server waits for the lease of the match's dead owner to expire.
"""

_KEPT_SAMPLES: Final = 100_000
_KEPT_EVENTS: Final = 10_000
_KEPT_UPDATES: Final = 1_000
_KEPT_CHAT: Final = 1_000
_TRANSIENT: Final = frozenset({RefusalCode.UNAVAILABLE, RefusalCode.SLOW})


class JoinRefused(Exception):
    """Reports that a game server refused the player, and that a retry cannot succeed.

    Attributes:
        code: the cause, a value of `protocol.RefusalCode`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class ConnectionLost(Exception):
    """Reports that no game server gave the player a seat within the time limit."""


@dataclass(frozen=True)
class _Access:
    """Holds all that a connection needs to join or rejoin a match."""

    match_id: str
    token: Callable[[], str]
    locate: Callable[[str], Awaitable[str | None]]
    name: str
    codec: Codec
    timeout_seconds: float
    ssl_context: ssl.SSLContext | None
    headers: Mapping[str, str]


@dataclass
class Interruption:
    """Describes a pause of the play, in which the connection returned to its seat on the same server or another.

    Attributes:
        seconds: seconds from the last message of the old server to the `Welcome` of the new server.
        from_server: id of the server whose connection was lost.
        to_server: id of the server that gave the seat back, which can be `from_server`.
    """

    seconds: float
    from_server: str
    to_server: str


@dataclass
class Samples:
    """Holds what a connection measured.

    Attributes:
        latency_ms: milliseconds from an input to the first frame that acknowledges the input, for the newest 100,000
            inputs.
        frames: number of received frames.
        bytes: bytes of all received messages, without the headers of WebSocket frames.
        inputs: number of sent inputs.
        interruptions: one pause of the play for each reconnect.
    """

    latency_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT_SAMPLES))
    frames: int = 0
    bytes: int = 0
    inputs: int = 0
    interruptions: list[Interruption] = field(default_factory=list)


async def connect(
    match_id: str,
    url: str,
    *,
    token: Callable[[], str],
    locate: Callable[[str], Awaitable[str | None]],
    name: str,
    codec: Codec,
    timeout_seconds: float,
    ssl_context: ssl.SSLContext | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> PlayerConnection:
    """Take a seat in a match, and keep it until the match has ended. `GameClient.join` calls this function.

    Args:
        match_id: id of the match.
        url: WebSocket address of a game server.
        token: function that returns the access token. The connection calls `token` each time it contacts a server.
        locate: function that returns the address of the server that runs a match, or None if the server is unknown.
        name: name to show to other players.
        codec: encoding of the messages.
        timeout_seconds: time limit in seconds for the first `Welcome`. A later reconnect has a limit of 20 s.
        ssl_context: checks the certificates of `wss` addresses, or None to trust the system's authorities.
        headers: further headers of each handshake.

    Raises:
        JoinRefused: a game server refused the player, and a retry cannot succeed.
        ConnectionLost: no game server gave the player a seat within `timeout_seconds`.
    """
    access = _Access(match_id, token, locate, name, codec, timeout_seconds, ssl_context, headers)
    connection = PlayerConnection(access)
    await connection._enter([url], time.monotonic() + timeout_seconds)
    connection._watch()
    return connection


class PlayerConnection:
    """Plays one match and reconnects automatically. `GameClient.join` creates a connection.

    Attributes:
        info: facts about the match and the player's seat, from the last `Welcome`.
        state: the full view of the game at the time of the last `Welcome`.
        events: sequence number -> event, for the newest 10,000 events. A server sends an event only after the event is
            stored.
        chat: the newest 1,000 chat lines, and an `Unsaid` for each own line that the server did not send to the
            players.
        ended: future of the match's result (payload of `match.ended`). The future raises JoinRefused or ConnectionLost
            if the seat is lost.
        on_update: a function that receives each update without delay, or None (the default) if `updates` yields the
            updates.
        samples: measurements of the connection.
    """

    def __init__(self, access: _Access) -> None:
        self.info: MatchInfo
        self.state: Any = None
        self.events: dict[int, Event] = {}
        self.chat: deque[ChatLine | Unsaid] = deque(maxlen=_KEPT_CHAT)
        self.ended: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        # Read the error of the future `ended`, because asyncio logs the error of a future if no code has read it. The
        # method `result` still raises the error of `ended`.
        self.ended.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.on_update: Callable[[Update], None] | None = None
        self.samples = Samples()
        self._access = access
        self._listener: PlaySocket | None = None
        self._sequence = 0
        self._unseen: deque[tuple[int, float]] = deque(maxlen=256)
        self._updates: deque[Update] = deque(maxlen=_KEPT_UPDATES)
        self._news = asyncio.Event()
        self._last_word = time.monotonic()
        self._redirected_to: str | None = None
        self._alternates: list[str] = []
        self._keeper: asyncio.Task[None] | None = None

    @property
    def match_id(self) -> str:
        """Return the id of the match."""
        return self._access.match_id

    @property
    def reconnects(self) -> int:
        """Return how often the connection was lost and a server gave the seat back."""
        return len(self.samples.interruptions)

    def send_input(self, action: Any) -> int:
        """Send an input.

        The input is lost if the connection has no server at this moment.

        Args:
            action: an instance of the rules' `action_type`.

        Returns:
            The sequence number of the input. A frame acknowledges an input by its sequence number.
        """
        self._sequence += 1
        listener = self._listener
        if listener is not None and listener.seated:
            self._unseen.append((self._sequence, time.perf_counter()))
            self.samples.inputs += 1
            listener.send(Input(self._sequence, action))
        return self._sequence

    def say(self, text: str) -> None:
        """Send a chat line to all players of the match.

        The chat line is lost if the connection has no server at this moment. The server's answer is appended to `chat`.
        """
        if self._listener is not None and self._listener.seated:
            self._listener.send(Say(text))

    async def updates(self) -> AsyncIterator[Update]:
        """Yield each update until the match has ended. While `on_update` is set, `updates` yields nothing.

        The connection keeps the newest 1,000 updates for a slow reader.

        Raises:
            JoinRefused: a game server refused the player, and a retry cannot succeed.
            ConnectionLost: the connection was lost, and no game server gave the seat back within 20 s.
        """
        while True:
            while self._updates:
                yield self._updates.popleft()
            if self.ended.done():
                self.ended.result()
                return
            self._news.clear()
            await self._news.wait()

    async def result(self) -> dict[str, Any]:
        """Wait for the end of the match, and return its result: the payload of the event `match.ended`.

        Raises:
            JoinRefused: a game server refused the player, and a retry cannot succeed.
            ConnectionLost: the connection was lost, and no game server gave the seat back within 20 s.
        """
        return await asyncio.shield(self.ended)

    async def leave(self) -> None:
        """Give up the seat for good, and close the connection."""
        if self._listener is not None:
            self._listener.send(Leave())
        await self.close()

    async def close(self) -> None:
        """Close the connection without giving up the seat. The player keeps the seat of a closed connection until the
        match ends. A second call of `close` does nothing.
        """
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self._listener is not None:
            self._listener.drop()
            self._listener = None
        if not self.ended.done():
            self.ended.cancel()

    # Received messages

    def received(self, message: ServerMessage, size: int) -> None:
        """Handle a message of the server, of `size` bytes. `PlaySocket` calls `received` after the `Welcome`."""
        self._last_word = time.monotonic()
        self.samples.bytes += size
        if isinstance(message, Frame | Full):
            self._on_frame(message)
        elif isinstance(message, Ended):
            if not self.ended.done():
                self.ended.set_result(message.result)
            self._news.set()
        elif isinstance(message, ChatLine | Unsaid):
            self.chat.append(message)
        elif isinstance(message, Servers):
            self._alternates = message.alternates
        elif isinstance(message, Redirect):
            self._redirected_to = message.url or None

    def _on_frame(self, message: Frame | Full) -> None:
        self.samples.frames += 1
        for event in message.events:
            self.events[event.sequence] = event
            if len(self.events) > _KEPT_EVENTS:
                del self.events[next(iter(self.events))]
        slot, acks = self.info.slot, message.acks
        for index in range(0, len(acks), 2):
            if acks[index] == slot:
                self._seen(acks[index + 1])
        self._tell(message)

    def _seen(self, sequence: int) -> None:
        now = time.perf_counter()
        while self._unseen and self._unseen[0][0] <= sequence:
            sent_sequence, sent_at = self._unseen.popleft()
            if sent_sequence == sequence:
                self.samples.latency_ms.append((now - sent_at) * 1000)

    def _tell(self, update: Update) -> None:
        if self.on_update is not None:
            self.on_update(update)
        else:
            self._updates.append(update)
            self._news.set()

    # Connecting and reconnecting

    def _watch(self) -> None:
        self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        """Reconnect each time the server closes the connection or is silent for 1.2 s, until the match has ended."""
        try:
            while not self.ended.done():
                listener = self._listener
                if listener is not None and not await listener.lost(_STALLED_SECONDS / 4):
                    if time.monotonic() - self._last_word < _STALLED_SECONDS:
                        continue
                    listener.drop()
                if not self.ended.done():
                    await self._return()
        except (JoinRefused, ConnectionLost) as error:
            if not self.ended.done():
                self.ended.set_exception(error)
            self._news.set()

    async def _return(self) -> None:
        silent_since, before = self._last_word, self.info.server_id
        self._unseen.clear()
        alternates = list(self._alternates)
        random.shuffle(alternates)
        first = [self._redirected_to] if self._redirected_to else []
        own = [self._listener.url] if self._listener is not None else []
        await self._enter([*first, *alternates, *own], time.monotonic() + _RESUME_SECONDS)
        self.samples.interruptions.append(Interruption(time.monotonic() - silent_since, before, self.info.server_id))

    async def _enter(self, urls: list[str], deadline: float) -> None:
        """Try `urls` and the addresses of redirects, one after another, until a server sends a `Welcome`."""
        self._redirected_to = None
        candidates = deque(dict.fromkeys(urls))
        known = list(candidates)
        problem = "no server is known"
        while True:
            if not candidates:
                await asyncio.sleep(_RETRY_SECONDS)
                located = await self._access.locate(self.match_id)
                candidates.extend(dict.fromkeys([*([located] if located else []), *known]))
            if time.monotonic() > deadline:
                raise ConnectionLost(f"match {self.match_id}: {problem}")
            if not candidates:
                continue
            url = candidates.popleft()
            answer = await self._hello(url, deadline)
            if isinstance(answer, Welcome):
                return
            if isinstance(answer, Redirect):
                problem = f"{url} redirects ({answer.reason})"
                if answer.url and answer.url != url:
                    await asyncio.sleep(0 if answer.url not in known else _RETRY_SECONDS / 4)
                    candidates.appendleft(answer.url)
                    known = list(dict.fromkeys([answer.url, *known]))
            elif isinstance(answer, Refused):
                problem = f"{url} refuses: {answer.message}"
                if answer.code not in _TRANSIENT:
                    raise JoinRefused(answer.code, answer.message)
            else:
                problem = f"{url}: {answer}"

    async def _hello(self, url: str, deadline: float) -> Welcome | Redirect | Refused | str:
        """Ask a server for the seat. Returns the server's answer, or the cause of a missing answer as a text."""
        access = self._access
        listener = PlaySocket(self, url, access.codec)
        patience = max(0.1, min(_HANDSHAKE_SECONDS, deadline - time.monotonic()))
        try:
            async with asyncio.timeout(patience):
                await ws_connect(
                    lambda: listener,
                    url,
                    ssl_context=access.ssl_context,
                    extra_headers={
                        "Sec-WebSocket-Protocol": access.codec.name,
                        "User-Agent": USER_AGENT,
                        **access.headers,
                    },
                    max_frame_size=MAX_SERVER_FRAME_BYTES,
                    websocket_handshake_timeout=min(1.0, access.timeout_seconds),
                    read_buffer_init_size=4096,
                )
                resume = self.info.resume if hasattr(self, "info") else ""
                listener.send(Hello(access.match_id, access.token(), access.name, resume))
                answer = await listener.answer
        except (OSError, WSError, TimeoutError, ConnectionError) as error:
            listener.drop()
            return str(error) or type(error).__name__
        if isinstance(answer, Welcome):
            self._listener = listener
        else:
            listener.drop()
        return answer

    def welcomed(self, welcome: Welcome, size: int) -> None:
        """Handle the `Welcome` of a server, of `size` bytes. `PlaySocket` calls `welcomed`."""
        self.info, self.state = welcome.match, welcome.state
        self._alternates = welcome.match.alternates
        self._sequence = max(self._sequence, welcome.sequence)
        self._last_word = time.monotonic()
        self.samples.bytes += size
        self._tell(welcome)
