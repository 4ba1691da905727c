# The types of C that `gameserver.compilation` uses when it compiles match.py. A variable without a type here stays a
# Python object. Python ignores this file.

cdef class Match:
    cdef public object spec, clock, action_type, rules, result, reason, fault, _reportable
    cdef public long tick_number, started_at_ms, _idle_ticks, _quiet_ticks, _sequence
    cdef public dict _seats
    cdef public list _departed, _acks, _events, _stored

    cpdef input(self, seat, sequence, action)
    cpdef tick(self, now_ms)
    cpdef _frame(self)
