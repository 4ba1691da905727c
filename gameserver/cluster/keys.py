"""Names of the keys in the state store.

All keys of a match have the same hash tag, so that they are in one hash slot. In cluster mode the hash tag is the first
part of the match's id, up to a hyphen. The matches of one server in one shard share a hash tag, so that the server
stores these matches by one call of a script. The id of a match without cluster mode has no hyphen, and is itself the
hash tag.

Every other key stands alone: no script and no command uses it together with another key (docs/decisions/0013).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

ACTIVE_MATCHES: Final = "matches:active"
"""Sorted set of the matches that are not finished: match id -> time at which the owner last reported the match, in ms
of Redis's clock; 0 after the owner released it."""

SERVERS: Final = "servers"
"""Sorted set of the game servers: server id -> time of its last heartbeat, in ms of Redis's clock."""

MATCH_TTL_SECONDS: Final = 24 * 3600
"""Lifetime of the keys of an unfinished match. A match waits this long in Redis if SNS is unavailable or no server is
alive."""

FINISHED_TTL_SECONDS: Final = 120
"""Time for which a finished match stays in Redis, so that a client that reconnects late still receives the result."""


def server(server_id: str) -> str:
    """Return the key of a server's `ServerInfo`, as JSON."""
    return f"server:{server_id}"


def open_matches(open_list: str) -> str:
    """Return the key of the sorted set of matches with a free seat: match id -> creation time in ms since 1970.

    Args:
        open_list: name of the list, as `MatchSpec.open_list` returns it.
    """
    return f"matches:open:{open_list}"


def tag(match_id: str) -> str:
    """Return the hash tag of a match, without the prefix `m:`."""
    return match_id.partition("-")[0]


def _of(match_id: str) -> str:
    first, hyphen, _ = match_id.partition("-")
    return f"{{m:{first}}}:{match_id}" if hyphen else f"{{m:{match_id}}}"


def spec(match_id: str) -> str:
    """Return the key of a match's `MatchSpec`, as JSON."""
    return f"{_of(match_id)}:spec"


def lease(match_id: str) -> str:
    """Return the key of a match's lease, `<server id>:<fencing token>`, which expires unless the owner renews it."""
    return f"{_of(match_id)}:lease"


def fence(match_id: str) -> str:
    """Return the key of a match's newest fencing token. Only the server with the newest token may write the match."""
    return f"{_of(match_id)}:fence"


def snapshot(match_id: str) -> str:
    """Return the key of a match's newest snapshot, as MessagePack."""
    return f"{_of(match_id)}:snapshot"


def commit(match_id: str) -> str:
    """Return the key of the number of the commit that stored a match's newest snapshot, `<fencing token>:<number>`."""
    return f"{_of(match_id)}:commit"


def events(match_id: str) -> str:
    """Return the key of a match's event stream.

    The entry `<sequence>-0` has one field, `e`: the body of the event, as it is sent to SNS.
    """
    return f"{_of(match_id)}:events"


def published(match_id: str) -> str:
    """Return the key of the sequence number of a match's last event that SNS has accepted."""
    return f"{_of(match_id)}:published"


def seats(match_id: str) -> str:
    """Return the key of a hash about a match's seats.

    The field `taken` is the number of taken seats. Every field except `taken` stands for a seat that is kept for a
    player who is about to join. The name of the field of a kept seat is random, and its value is the time until which
    the seat is kept, in ms of Redis's clock.
    """
    return f"{_of(match_id)}:seats"


def unreadable(match_id: str) -> str:
    """Return the key of the number of failed attempts to restore a match."""
    return f"{_of(match_id)}:unreadable"


def of_match(match_id: str) -> list[str]:
    """Return all keys of a match."""
    return [name(match_id) for name in (spec, lease, fence, snapshot, commit, events, published, seats, unreadable)]


# A game server stores each of its matches about 14 times a second, and making the six names takes longer than a look-up
# in the cache.
@lru_cache(maxsize=4096)
def of_commit(match_id: str) -> tuple[str, ...]:
    """Return the keys that a commit of a match reads and writes, in the order in which the commit's script takes
    them."""
    return tuple(name(match_id) for name in (fence, lease, events, snapshot, commit, seats))
