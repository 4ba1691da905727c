# Types for `gameserver.compilation`, which makes C of match.py. What is not named here stays a Python object.

cdef class Match:
    cdef public object spec, clock, action_type, rules, result, reason, fault, _reportable
    cdef public long tick_number, started_at_ms, _idle_ticks, _quiet_ticks, _sequence
    cdef public dict _seats
    cdef public list _departed, _acks, _events, _stored

    cpdef input(self, seat, sequence, action)
    cpdef tick(self, now_ms)
    cpdef _frame(self)
