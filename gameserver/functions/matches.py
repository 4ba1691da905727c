"""Creates matches, finds matches with a free seat, and looks matches up."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gameserver.cluster import closure
from gameserver.functions.http import HttpError, Request, Response
from gameserver.functions.services import Services
from gameserver.runtime.settings import Mode

if TYPE_CHECKING:
    from gameserver.cluster.directory import ServerInfo
    from gameserver.match import MatchSpec

_MATCH_ID = re.compile(r"[0-9a-zA-Z_-]{1,64}\Z")


class CreateMatch(msgspec.Struct):
    """Describes the body of `POST /v1/matches`.

    Attributes:
        mode: name of the mode.
        join: `new` creates a match. `open` finds a match with a free seat, and creates a match if there is none.
    """

    mode: str
    join: Literal["new", "open"] = "new"


async def create_match(request: Request, services: Services) -> Response:
    """Answer `POST /v1/matches` with a body `CreateMatch`: 201 {match_id, mode, state, server: {id, zone, url}}.

    The match is registered in DynamoDB before `create_match` returns.

    Raises:
        HttpError: 503 `no_capacity` if no server has room. 503 `busy` if too many `POST /v1/matches` requests wait in
            this process. 503 `region_closed`, with the addresses of other regions, if the region takes no new matches.
            400 `unknown_mode` if the mode does not exist.
    """
    body = request.json(CreateMatch)
    mode = services.settings.mode(body.mode)
    if mode is None:
        names = ", ".join(known.name for known in services.settings.modes)
        raise HttpError(400, "unknown_mode", f"mode must be one of: {names}")
    await services.matches_by_player.take(request.player_id)
    async with services.match_requests:
        await _refuse_if_closed(services)
        if body.join == "open":
            return await _find_or_create(services, mode, request)
        return await _create(services, mode, request, unless_open=False)


async def get_match(request: Request, services: Services) -> Response:
    """Answer `GET /v1/matches/{match_id}`: 200 {match_id, mode, state, server, result}.

    `server` is null if no server runs the match, as after its end. `result` is null before the end of the match.

    Raises:
        HttpError: 404 if the match does not exist.
    """
    match_id = request.path["match_id"]
    record = await services.tables.match(match_id) if _MATCH_ID.match(match_id) else None
    if record is None:
        raise HttpError(404, "no_such_match", "there is no match with this id")
    server = None
    if record.state != "ended":
        located = await services.directory.locate(match_id)
        server = located[1] if located is not None else None
    result = None
    if record.result is not None:
        result = {"started_at_ms": record.started_at, "ended_at_ms": record.ended_at, **record.result}
    body = {"match_id": match_id, "mode": record.mode, "state": record.state}
    return Response(200, {**body, "server": _server(server) if server else None, "result": result})


async def _refuse_if_closed(services: Services) -> None:
    closed = closure.decode(await services.state.get(closure.KEY))
    if closed is not None:
        raise HttpError(
            503, "region_closed", "this region takes no new matches, play in another region", regions=closed.elsewhere
        )


async def _find_or_create(services: Services, mode: Mode, request: Request) -> Response:
    open_match = await services.directory.find_open(mode.name, internal=request.internal)
    if open_match is None:
        # Hold a lock while a match is created, because many players who arrive together would otherwise each reserve a
        # server's seats for a new match. The players who wait for the lock find the match of the first player. If two
        # processes create a match at the same time, Redis decides which match is used.
        async with services.opening_match(mode.name):
            open_match = await services.directory.find_open(mode.name, internal=request.internal)
            if open_match is None:
                return await _create(services, mode, request, unless_open=True)
    return await _joinable(services, *open_match)


async def _joinable(services: Services, spec: MatchSpec, server: ServerInfo) -> Response:
    record = await services.tables.match(spec.match_id)
    state = record.state if record is not None else "running"
    return Response(201, _ticket(spec.match_id, spec.mode, state, server))


async def _create(services: Services, mode: Mode, request: Request, *, unless_open: bool) -> Response:
    from gameserver.match import MatchSpec

    server = await services.directory.pick_server(mode.seats)
    if server is None:
        raise HttpError(
            503, "no_capacity", "no game server has room for the match, try again shortly", retry_after_seconds=2
        )
    match_id = await services.directory.new_match_id(server.id)
    created_at_ms = time.time_ns() // 1_000_000
    # Register the match in DynamoDB before Redis contains it and a game server can run it. If the process fails after
    # the write to DynamoDB, only an item that expires is left. If Redis were written first, a failure could leave a
    # running match without an item in DynamoDB.
    await services.tables.register_match(
        match_id,
        mode=mode.name,
        seats=mode.seats,
        rules=mode.rules,
        region=services.settings.region,
        created_by=request.player_id,
        created_at_ms=created_at_ms,
    )
    spec = MatchSpec(
        match_id=match_id,
        mode=mode.name,
        seats=mode.seats,
        duration_seconds=mode.duration_seconds,
        rules=mode.rules,
        created_at_ms=created_at_ms,
        server_id=server.id,
        internal=request.internal,
    )
    if unless_open:
        other = await services.directory.create_unless_open(spec)
        if other is not None:
            services.directory.unpick(server, mode.seats)
            return await _joinable(services, *other)
    else:
        await services.directory.create_match(spec)
    return Response(201, _ticket(match_id, mode.name, "starting", server))


def _ticket(match_id: str, mode: str, state: str, server: ServerInfo) -> dict[str, Any]:
    return {"match_id": match_id, "mode": mode, "state": state, "server": _server(server)}


def _server(server: ServerInfo) -> dict[str, str]:
    return {"id": server.id, "zone": server.zone, "url": server.url}
