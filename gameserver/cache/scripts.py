"""The cache's Lua: what must happen in one step, and no more. Each is a few O(1) commands.

KEYS: generation, epoch. ARGV: value prefix, lease prefix, key, then what is named at each script. The keys built inside
lie in the slot of KEYS by their hash tag.
"""

from __future__ import annotations

from typing import Final

# Absent generation: the namespace is new, or Redis lost its memory. Counting from the clock makes sure that a number
# is never used twice, or values of a generation long gone could come back.
_CREATE_GENERATION = """
local created = 0
local g = redis.call('GET', KEYS[1])
if not g then
  local t = redis.call('TIME')
  g = t[1] .. string.format('%03d', math.floor(t[2] / 1000))
  redis.call('SET', KEYS[1], g)
  created = 1
end
"""
_READ_GENERATION = """
local g = redis.call('GET', KEYS[1])
if not g then return %s end
"""
_NAMES = """
local value = ARGV[1] .. g .. ':' .. ARGV[3]
local lease = ARGV[2] .. g .. ':' .. (redis.call('GET', KEYS[2]) or '0') .. ':' .. ARGV[3]
"""

# -> value or nil
GET: Final = _READ_GENERATION % "false" + "return redis.call('GET', ARGV[1] .. g .. ':' .. ARGV[3])"

# value, ttl ms -> 1 when the generation was created
SET: Final = (
    _CREATE_GENERATION
    + _NAMES
    + """
redis.call('SET', value, ARGV[4], 'PX', ARGV[5])
redis.call('DEL', lease)
return created
"""
)

# token, lease ms -> {value or nil, token of the lease's holder, 1 when the generation was created}
GET_OR_LEASE: Final = (
    _CREATE_GENERATION
    + _NAMES
    + """
local found = redis.call('GET', value)
if found then return {found, false, created} end
if redis.call('SET', lease, ARGV[4], 'NX', 'PX', ARGV[5]) then return {false, ARGV[4], created} end
return {false, redis.call('GET', lease), created}
"""
)

# token, value, ttl ms -> 1 when stored, 0 when the lease had ended
STORE: Final = (
    _READ_GENERATION % "0"
    + _NAMES
    + """
if redis.call('GET', lease) ~= ARGV[4] then return 0 end
redis.call('SET', value, ARGV[5], 'PX', ARGV[6])
redis.call('DEL', lease)
return 1
"""
)

# token: the load failed, let the next one try
RELEASE: Final = (
    _READ_GENERATION % "0"
    + _NAMES
    + "if redis.call('GET', lease) == ARGV[4] then return redis.call('DEL', lease) end return 0"
)

# -> 1 when there was a value
INVALIDATE: Final = _READ_GENERATION % "0" + _NAMES + "redis.call('DEL', lease) return redis.call('UNLINK', value)"

# ttl ms -> 1 when there was a value
EXPIRE: Final = _READ_GENERATION % "0" + _NAMES + "return redis.call('PEXPIRE', value, ARGV[4])"

# -> ms, -2 without a value
TTL: Final = _READ_GENERATION % "-2" + _NAMES + "return redis.call('PTTL', value)"

# -> the new generation
NEXT_GENERATION: Final = (
    _CREATE_GENERATION + "if created == 1 then return tonumber(g) end return redis.call('INCR', KEYS[1])"
)
