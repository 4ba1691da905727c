# C types of connection.py, for `gameserver.compilation`. With these C types, picows calls the compiled methods of
# `Connection` directly.

cimport cython
from picows.picows cimport WSFrame, WSListener, WSTransport
from picows.picows cimport WSMsgType as MessageType

from gameserver.match cimport Match

cdef class Connection(WSListener):
    cdef public object codec, room, seat
    cdef public MessageType message_type
    cdef public bint from_server, open, paused, behind
    cdef public long skipped_frames
    cdef public Match _match
    cdef public WSTransport _transport
    cdef public object _server, _metrics, _hello_timer, _decode, _relay, _read_socket
    cdef public bint _hello_seen
    cdef public long _received, _received_bytes, _dropped
    cdef public double _window_start

    @cython.locals(kind=MessageType, payload=bytes)
    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame)

    cpdef on_ws_connected(self, WSTransport transport)
    cpdef on_ws_disconnected(self, WSTransport transport)
    cpdef pause_writing(self)
    cpdef resume_writing(self)
    cpdef read(self)
    cpdef push(self, bytearray buffer)
