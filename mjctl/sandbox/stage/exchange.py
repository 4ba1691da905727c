"""Serves the connections between a load balancer and its clients: requests, responses and WebSockets.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol, cast

from mjctl.sandbox.stage import forwarding
from mjctl.sandbox.stage.admission import decide
from mjctl.sandbox.stage.balancing import Balancing
from mjctl.sandbox.stage.forwarding import OwnAnswer
from mjctl.sandbox.stage.http1 import (
    HEAD_END,
    BodyReader,
    MalformedMessageError,
    RequestHead,
    ResponseHead,
    parse_request,
    parse_response,
)
from mjctl.sandbox.stage.routes import ListenerRoute, PoolMember, TargetPool
from mjctl.sandbox.stage.target_side import MemberKey, TargetSide, TunnelSide
from mjctl.sandbox.stage.web_request import INSPECTED_BODY_BYTES

# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
_LONGEST_HEAD = 65_536
_LONGEST_TARGET = 16_384
_MOST_BUFFERED = 262_144
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#http-504-issues
_CONNECT_SECONDS = 10.0

_HEAD, _INSPECT, _CONNECT, _EXCHANGE, _TUNNEL, _CLOSED = "head", "inspect", "connect", "exchange", "tunnel", "closed"


class Entrance(Protocol):
    """Describes the listener that accepted a connection. The listener's route can change during the connection."""

    route: ListenerRoute


class PlayerSide(asyncio.Protocol):
    """Serves one connection of a client, and forwards each request to a target.

    Attributes:
        transport: The connection to the client.
        active: The time at which the last byte came from the client or from the target, in seconds of the event loop.
    """

    transport: asyncio.Transport

    def __init__(
        self, entrance: Entrance, balancing: Balancing, admits: Callable[[asyncio.BaseTransport], bool]
    ) -> None:
        """Create asyncio's protocol for a connection.

        Args:
            entrance: The listener that accepted the connection.
            balancing: The state that all connections of the proxy share.
            admits: Returns whether the process behind a connection may use the stage.
        """
        self.active = 0.0
        self._entrance, self._balancing, self._admits = entrance, balancing, admits
        self._loop = asyncio.get_running_loop()
        self._state = _HEAD
        self._client = ("", 0)
        self._born = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = bytearray()
        self._paused = False
        self._head = RequestHead((), 1, b"", b"")
        self._body = BodyReader(done=True)
        self._pending = bytearray()
        self._close = False
        self._key: MemberKey | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._target: TargetSide | None = None
        self._response = bytearray()
        self._response_body: BodyReader | None = None
        self._reusable = False

    @property
    def _route(self) -> ListenerRoute:
        return self._entrance.route

    @property
    def _counts(self) -> Counter[str]:
        return self._balancing.balancers[self._route.balancer]

    # Events of the client's connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a new connection, or close the connection of a client that may not use the stage.

        asyncio calls this method.
        """
        self.transport = cast("asyncio.Transport", transport)
        if not self._admits(transport):
            self._state = _CLOSED
            self.transport.abort()
            return
        self._client = transport.get_extra_info("peername")[:2]
        self._born = self.active = self._loop.time()
        self._counts["NewConnectionCount"] += 1
        self._counts["ActiveConnectionCount"] += 1
        self._timer = self._loop.call_later(self._route.idle_seconds, self._check_idle)

    def data_received(self, data: bytes) -> None:
        """Process bytes from the client. asyncio calls this method."""
        self.active = self._loop.time()
        self._buffer += data
        if self._state == _CONNECT and len(self._buffer) > _MOST_BUFFERED and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the connection to the target, because the client's connection has ended. asyncio calls this method."""
        del exc
        if self._state in {_CONNECT, _EXCHANGE} and self._response_body is None:
            # The client has closed the connection before the response. AWS then counts a status 460.
            self._counts["HTTPCode_ELB_4XX_Count"] += 1
            self._counts["HTTPCode_ELB_460_Count"] += 1
        self._leave_target()
        self._end()

    def pause_writing(self) -> None:
        """Stop reading from the target until the client has received more bytes. asyncio calls this method."""
        if self._target is not None:
            self._target.transport.pause_reading()

    def resume_writing(self) -> None:
        """Continue to read from the target after `pause_writing`. asyncio calls this method."""
        if self._target is not None:
            self._target.transport.resume_reading()

    # The request

    def _advance(self) -> None:
        try:
            if self._state == _HEAD:
                self._read_head()
            if self._state == _INSPECT:
                self._inspect()
            elif self._state == _EXCHANGE:
                self._send_body()
        except MalformedMessageError:
            self._answer(OwnAnswer(400), close=True)

    def _read_head(self) -> None:
        end = self._buffer.find(HEAD_END)
        if max(end, len(self._buffer) if end < 0 else 0) > _LONGEST_HEAD:
            raise MalformedMessageError("the head of the request is too long")
        if end < 0:
            return
        raw = bytes(self._buffer[:end])
        del self._buffer[: end + len(HEAD_END)]
        self._body = BodyReader()
        head = self._head = parse_request(raw)
        self._body = BodyReader.of_request(head, INSPECTED_BODY_BYTES + 1 if self._route.firewall else 0)
        self._counts["RequestCount"] += 1
        expired = self._loop.time() - self._born > self._route.keep_alive_seconds
        kept = head.minor == 1 or head.has_token(b"connection", b"keep-alive")
        self._close = head.has_token(b"connection", b"close") or not kept or expired
        if len(head.target) > _LONGEST_TARGET:
            self._answer(OwnAnswer(414), close=True)
        elif head.minor == 1 and head.get(b"host") is None:
            self._answer(OwnAnswer(400), close=True)
        elif forwarding.forwarded_addresses(head) > forwarding.MOST_FORWARDED_ADDRESSES:
            self._answer(OwnAnswer(463), close=True)
        else:
            if head.has_token(b"expect", b"100-continue"):
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._state = _INSPECT

    def _inspect(self) -> None:
        """Decide on the request after enough of the body for the firewall's inspection has arrived."""
        self._move_body()
        if self._route.firewall is not None and not self._body.done and len(self._body.kept) <= INSPECTED_BODY_BYTES:
            return
        decision = decide(self._route, self._balancing, self._head, bytes(self._body.kept), self._client[0])
        if isinstance(decision, OwnAnswer):
            self._answer(decision)
        else:
            self._reach(*decision)

    def _move_body(self) -> None:
        """Move bytes of the body from the buffer of the client's bytes to `_pending`, the bytes for the target."""
        used = self._body.feed(self._buffer)
        self._pending += self._buffer[:used]
        del self._buffer[:used]

    # The target

    def _reach(self, pool: TargetPool, member: PoolMember) -> None:
        self._state = _CONNECT
        self._key = (pool.group, *member)
        self._balancing.outstanding[self._key] += 1
        self._balancing.pools[pool.group]["RequestCount"] += 1
        blocked = f"{member[0]}:{member[1]}" in pool.unreachable
        target = None if blocked else self._balancing.take_idle(self._key)
        if target is not None:
            self._attach(target)
        else:
            self._connecting = self._loop.create_task(self._connect(pool, self._key, blocked=blocked))

    async def _connect(self, pool: TargetPool, key: MemberKey, *, blocked: bool) -> None:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                if blocked:
                    # AWS drops the packets of a connection that a security group does not allow.
                    await asyncio.Event().wait()
                _, target = await self._loop.create_connection(
                    lambda: TargetSide(key, self._balancing.forget_idle),
                    key[1],
                    key[2],
                    ssl=self._balancing.security(pool),
                )
        except TimeoutError:
            self._connecting = None
            self._answer(OwnAnswer(504))
        except OSError:
            self._connecting = None
            self._answer(OwnAnswer(502))
        else:
            self._connecting = None
            self._attach(target)

    def _attach(self, target: TargetSide) -> None:
        self._target, target.player = target, self
        self._balancing.in_use[target.key].add(target)
        self._state = _EXCHANGE
        target.transport.write(forwarding.request_for_target(self._head, self._route, self._client))
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        self._advance()

    def _send_body(self) -> None:
        self._move_body()
        if self._pending and self._target is not None:
            self._target.transport.write(bytes(self._pending))
            self._pending.clear()

    def from_target(self, data: bytes) -> None:
        """Forward bytes of the target's response to the client."""
        self.active = self._loop.time()
        self._response += data
        try:
            while self._response_body is None and self._state == _EXCHANGE:
                if not self._read_response_head():
                    return
            self._pass_response()
        except MalformedMessageError:
            if self._response_body is None:
                self._answer(OwnAnswer(502))
            else:
                self.transport.abort()

    def _read_response_head(self) -> bool:
        """Read the head of the target's response. Returns: False if a part of the head is still missing."""
        end = self._response.find(HEAD_END)
        if end < 0:
            if len(self._response) > _LONGEST_HEAD:
                raise MalformedMessageError("the head of the response is too long")
            return False
        raw = bytes(self._response[: end + len(HEAD_END)])
        head = parse_response(raw[:end])
        del self._response[: len(raw)]
        if head.status >= 200:
            self._begin_response(head)
        else:
            self.transport.write(raw)
            if head.status == 101:
                self._open_tunnel()
        return True

    def _begin_response(self, head: ResponseHead) -> None:
        body = BodyReader.of_response(head, self._head.method)
        self._close = self._close or body.until_close
        self._reusable = head.minor == 1 and not head.has_token(b"connection", b"close") and not body.until_close
        for counts in (self._counts, self._balancing.pools[self._key[0] if self._key else ""]):
            counts[f"HTTPCode_Target_{head.status // 100}XX_Count"] += 1
        self.transport.write(forwarding.response_for_client(head, close=self._close))
        self._response_body = body

    def _pass_response(self) -> None:
        body = self._response_body
        if body is None:
            return
        used = body.feed(self._response)
        if used:
            self.transport.write(bytes(self._response[:used]))
            del self._response[:used]
        if body.done:
            self._finish()

    def _finish(self) -> None:
        """End an exchange of a request and a response, and wait for the client's next request."""
        if self._reusable and self._body.done and not self._response and self._target is not None:
            target, self._target = self._target, None
            target.player = None
            self._balancing.in_use[target.key].discard(target)
            self._balancing.keep_idle(target.key, target)
        self._leave_target()
        self._next(close=self._close or not self._body.done)

    def target_lost(self, target: TargetSide) -> None:
        """Answer the client, or end the response, after the target has closed its connection."""
        self._balancing.in_use[target.key].discard(target)
        self._target = None
        if self._response_body is None:
            self._answer(OwnAnswer(502))
        elif self._response_body.until_close:
            self._finish()
        else:
            self.transport.close()

    def _open_tunnel(self) -> None:
        """Forward all further bytes in both directions unchanged, because the connection is a WebSocket now."""
        target = self._target
        if target is None:
            return
        self._state = _TUNNEL
        self.transport.write(bytes(self._response))
        target.transport.write(bytes(self._buffer))
        now = self._loop.time
        target.transport.set_protocol(TunnelSide(self, self.transport, now))
        self.transport.set_protocol(TunnelSide(self, target.transport, now))

    def tunnel_ended(self) -> None:
        """Remove an ended WebSocket from the counts. The client's side and the target's side call `tunnel_ended`."""
        if self._target is not None:
            self._balancing.in_use[self._target.key].discard(self._target)
        self._release()
        self._end()

    # Answers of the load balancer itself, time limits and the end

    def _answer(self, answer: OwnAnswer, *, close: bool = False) -> None:
        """Answer a request with an answer of the load balancer, without a target."""
        if self._state == _CLOSED:
            return
        self._leave_target()
        self._counts[f"HTTPCode_ELB_{answer.status // 100}XX_Count"] += 1
        if answer.status >= 500:
            self._counts[f"HTTPCode_ELB_{answer.status}_Count"] += 1
        close = close or self._close or not self._body.done
        without_body = self._head.method == b"HEAD"
        self.transport.write(forwarding.own_answer(answer, self._route, close=close, without_body=without_body))
        self._next(close=close)

    def _next(self, *, close: bool) -> None:
        """Close the client's connection, or wait for the client's next request."""
        self._pending.clear()
        self._response.clear()
        self._response_body = None
        if close:
            self._state = _CLOSED
            self.transport.close()
            return
        self._state = _HEAD
        if self._buffer:
            self._loop.call_soon(self._advance)

    def _check_idle(self) -> None:
        """End an exchange or a connection in which no byte was sent for the idle timeout.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html
        """
        left = self.active + self._route.idle_seconds - self._loop.time()
        if left > 0 or self._state == _CONNECT:
            self._timer = self._loop.call_later(max(left, 1.0), self._check_idle)
        elif self._state == _TUNNEL:
            self.transport.close()
            if self._target is not None:
                self._target.transport.close()
        elif self._state == _EXCHANGE and self._response_body is not None:
            self.transport.abort()
        elif self._state == _EXCHANGE and self._body.done:
            self._answer(OwnAnswer(504), close=True)
        elif self._state == _HEAD and not self._buffer:
            self.transport.close()
        else:
            self._answer(OwnAnswer(408), close=True)

    def _leave_target(self) -> None:
        """End the attempt to connect, or close the connection to the target."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._target is not None:
            self._balancing.in_use[self._target.key].discard(self._target)
            self._target.player = None
            self._target.transport.abort()
            self._target = None
        self._release()

    def _release(self) -> None:
        """Remove the request from the number of requests that the target serves."""
        if self._key is not None:
            self._balancing.release(self._key)
            self._key = None

    def _end(self) -> None:
        """Stop the idle timer, and remove the connection from the count of active connections."""
        self._state = _CLOSED
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._counts["ActiveConnectionCount"] -= 1
