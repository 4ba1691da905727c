# C types of room.py, for `gameserver.compilation`.

cimport cython

from gameserver.match cimport Match
from gameserver.server.connection cimport Connection

cdef class Room:
    cdef public Match match
    cdef public object outbox
    cdef public bint closing, sampled, _urgent, _end_stored
    cdef public long _commits, _epoch_start
    cdef public double _stored_at, _snapshot_at, _read_at
    cdef public object _origin, _metrics, _wake_committer, _chat, _in_flight
    cdef public set _saying
    cdef public dict _by_slot, _audience
    cdef public list _waiting, _pending

    @cython.locals(connection=Connection, audience=list, now=double, read_before=double)
    cpdef tick(self, now_ms)

    @cython.locals(connection=Connection, audience=list, behind=list, buffer=bytearray, sent=long, size=long)
    cpdef _broadcast(self, message)
