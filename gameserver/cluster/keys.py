"""Names of the keys in Redis, which has one shard: a server commits all of its matches by one script.

All keys of one match share a hash tag all the same, so that whoever shards it only has to call the scripts per slot.
"""

from __future__ import annotations

from typing import Final

ACTIVE_MATCHES: Final = "matches:active"
"""ZSET match id -> when its owner last said so, in ms of Redis's clock; 0 when it was given up on purpose."""

SERVERS: Final = "servers"
"""ZSET server id -> last heartbeat, in ms of Redis's clock."""

MATCH_TTL_SECONDS: Final = 24 * 3600
"""A match that could not be finished (SNS down, no server left) waits this long for someone to do it."""

FINISHED_TTL_SECONDS: Final = 120
"""How long a client that was away can still fetch the result of a finished match here."""


def server(server_id: str) -> str:
    """JSON of `ServerInfo`."""
    return f"server:{server_id}"


def open_matches(open_list: str) -> str:
    """ZSET match id -> creation time in ms, of the matches with a free seat; `open_list` as in `MatchSpec`."""
    return f"matches:open:{open_list}"


def spec(match_id: str) -> str:
    """JSON of `MatchSpec`."""
    return f"{{m:{match_id}}}:spec"


def lease(match_id: str) -> str:
    """`<server id>:<fencing token>`, expires with the owner."""
    return f"{{m:{match_id}}}:lease"


def fence(match_id: str) -> str:
    """The last fencing token given out; only its holder may write."""
    return f"{{m:{match_id}}}:fence"


def snapshot(match_id: str) -> str:
    """The last snapshot, MessagePack."""
    return f"{{m:{match_id}}}:snapshot"


def events(match_id: str) -> str:
    """Stream; entry `<sequence>-0` has one field `e`, the body of the event as it goes to SNS."""
    return f"{{m:{match_id}}}:events"


def published(match_id: str) -> str:
    """Sequence of the last event that SNS has taken."""
    return f"{{m:{match_id}}}:published"


def seats(match_id: str) -> str:
    """HASH `taken` -> seats taken; every other field is a seat promised to someone on the way: id -> until when, ms."""
    return f"{{m:{match_id}}}:seats"


def unreadable(match_id: str) -> str:
    """How often a server could not make sense of what is stored of the match."""
    return f"{{m:{match_id}}}:unreadable"


def of_match(match_id: str) -> list[str]:
    """Every key of one match."""
    return [name(match_id) for name in (spec, lease, fence, snapshot, events, published, seats, unreadable)]
