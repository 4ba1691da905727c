# The types of C that `gameserver.compilation` uses when it compiles arena.py. Python ignores this file.

cimport cython

cdef long _CELL, _CELLS

cdef class ArenaRunner:
    cdef public double x, y, heading_x, heading_y
    cdef public long score, shown_x, shown_y

cdef class Arena:
    cdef public object _random, _changes
    cdef public double _stride
    cdef public long _wanted, _next_pick_up
    cdef public dict _runners, _pick_ups, _cells

    @cython.locals(runner=ArenaRunner, x=double, y=double, stride=double, square=double)
    cpdef apply(self, slot, action)

    @cython.locals(
        events=list, moved=list, cells=dict, near=list,
        runner=ArenaRunner, x=double, y=double, edge=double, place_x=long, place_y=long,
    )
    cpdef step(self)

    cpdef changes(self)
