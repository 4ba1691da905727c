"""The cache's Lua: what must happen in one step, and no more. Each is a few O(1) commands.

KEYS: generation, epoch, near. ARGV: value prefix, lease prefix, key, then what is named at each script. The keys built
inside lie in the slot of KEYS by their hash tag.
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

# Ends what near-caches may answer: `wait` is 1 when one of their leases may still run. The last argument is a new
# token. Where no lease was given since the last change, and that is long ago by Redis' clock, there is nothing to wait
# for; the 10 s are far above a lease, so that a correction of the clock does no harm.
_BREAK_NEAR = """
local near = redis.call('HMGET', KEYS[3], 'granted', 'changed_at')
local wait = 0
if near[1] then
  local now = tonumber(redis.call('TIME')[1])
  if near[1] == '1' or now - tonumber(near[2]) <= 10 then
    redis.call('HSET', KEYS[3], 'token', ARGV[#ARGV], 'granted', '0', 'changed_at', now)
    wait = 1
  end
end
"""

# -> value or nil
GET: Final = _READ_GENERATION % "false" + "return redis.call('GET', ARGV[1] .. g .. ':' .. ARGV[3])"

# token -> {value or nil, its ttl ms, token of the namespace}, with a near-cache's lease from now on
GET_NEAR: Final = """
local near = redis.call('HMGET', KEYS[3], 'token', 'granted')
local token = near[1] or ARGV[4]
if near[2] ~= '1' then redis.call('HSET', KEYS[3], 'token', token, 'granted', '1') end
local g = redis.call('GET', KEYS[1])
if not g then return {false, 0, token} end
local value = ARGV[1] .. g .. ':' .. ARGV[3]
return {redis.call('GET', value), redis.call('PTTL', value), token}
"""

# -> wait
BREAK_NEAR: Final = _BREAK_NEAR + "return wait"

# value, ttl ms, token -> {1 when the generation was created, wait}
SET: Final = (
    _CREATE_GENERATION
    + _BREAK_NEAR
    + _NAMES
    + """
redis.call('SET', value, ARGV[4], 'PX', ARGV[5])
redis.call('DEL', lease)
return {created, wait}
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

# token -> {1 when there was a value, wait}
INVALIDATE: Final = (
    _BREAK_NEAR
    + _READ_GENERATION % "{0, wait}"
    + _NAMES
    + "redis.call('DEL', lease) return {redis.call('UNLINK', value), wait}"
)

# ttl ms, token -> {1 when there was a value, wait}
EXPIRE: Final = (
    _BREAK_NEAR + _READ_GENERATION % "{0, wait}" + _NAMES + "return {redis.call('PEXPIRE', value, ARGV[4]), wait}"
)

# -> ms, -2 without a value
TTL: Final = _READ_GENERATION % "-2" + _NAMES + "return redis.call('PTTL', value)"

# token -> {the new generation, wait}
NEXT_GENERATION: Final = (
    _CREATE_GENERATION
    + _BREAK_NEAR
    + "if created == 1 then return {tonumber(g), wait} end return {redis.call('INCR', KEYS[1]), wait}"
)

# No KEYS. ARGV: cursor, glob over physical keys, work (1 for a key looked at, 2 more for one removed), COUNT of a SCAN,
# a generation (only keys of earlier ones) or nothing, 1 to remove what is found
# -> {the next cursor, keys looked at, keys removed, names of keys found and not removed}
# While the table shrinks one SCAN may find any number of keys, more than Lua can pass at once.
SWEEP: Final = """
local cursor, scanned, removed, found = ARGV[1], 0, 0, {}
local work, count, before = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
repeat
  local answer = redis.call('SCAN', cursor, 'MATCH', ARGV[2], 'COUNT', count)
  cursor, scanned = answer[1], scanned + count
  for _, key in ipairs(answer[2]) do
    local g = before and tonumber(string.match(key, '^cache:{[^}]*}:(%d+):.'))
    if not before or (g and g < before) then found[#found + 1] = key end
  end
  if ARGV[6] == '1' then
    for first = 1, #found, 1000 do
      removed = removed + redis.call('UNLINK', unpack(found, first, math.min(first + 999, #found)))
    end
    found = {}
  end
until cursor == '0' or scanned + 2 * removed >= work
return {cursor, scanned, removed, found}
"""
