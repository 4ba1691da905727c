from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gameserver.cluster.publisher import Outbox, _body, _calls, _Entry, _messages
from gameserver.events import EncodedEvent


def _outbox() -> Outbox:
    return Outbox("m", 1, published=0, committed=0)


def test_recent_events_are_at_hand_until_they_are_published() -> None:
    outbox = _outbox()
    outbox.commit(1, [b"a", b"b", b"c"])
    assert outbox.backlog == 3
    assert outbox.at_hand(2) == [(1, b"a"), (2, b"b")]
    outbox.advance(2)
    assert outbox.at_hand(9) == [(3, b"c")]
    outbox.advance(3)
    assert outbox.backlog == 0
    assert outbox.at_hand(9) is None


def test_events_that_do_not_fit_in_memory_are_read_from_the_stream() -> None:
    outbox = _outbox()
    outbox.commit(1, [b"x"] * 1000)
    assert outbox.backlog == 1000
    assert outbox.at_hand(9) is None
    outbox.advance(1000 - len(outbox.recent))
    assert outbox.at_hand(1) == [(1000 - len(outbox.recent) + 1, b"x")]


def test_an_adopted_backlog_is_read_from_the_stream_first() -> None:
    outbox = Outbox("m", 2, published=3, committed=7)
    outbox.commit(8, [b"new"])
    assert outbox.backlog == 5
    assert outbox.at_hand(9) is None
    outbox.advance(7)
    assert outbox.at_hand(9) == [(8, b"new")]


@given(st.lists(st.integers(1, 90_000), max_size=300))
def test_messages_and_calls_contain_all_events_in_order_within_the_limits_of_sns(sizes: list[int]) -> None:
    outbox = _outbox()
    entries = [_Entry(outbox, EncodedEvent(number, b"1" * size)) for number, size in enumerate(sizes)]
    calls = list(_calls(_messages(entries)))
    assert [entry for call in calls for message in call for entry in message] == entries
    for call in calls:
        assert 1 <= len(call) <= 10
        assert sum(len(_body(message)) for message in call) <= 256 * 1024
        assert all(1 <= len(message) <= 50 for message in call)


def test_a_message_is_a_json_array_of_events() -> None:
    outbox = _outbox()
    bodies = [b'{"sequence":1}', b'{"sequence":2}']
    (message,) = _messages([_Entry(outbox, EncodedEvent(number, body)) for number, body in enumerate(bodies, 1)])
    assert json.loads(_body(message)) == [{"sequence": 1}, {"sequence": 2}]
