"""The Lua scripts of the cache. Each script makes a few O(1) commands atomic, except `SWEEP`.

All scripts except `SWEEP` have the same first arguments. KEYS are the control keys generation, epoch and near. ARGV
begins with value prefix, lease prefix and key. The comment at each script names the further arguments and, after the
arrow, the result. A script also builds names of keys. These keys are in the same hash slot as KEYS because of their
hash tag.
"""

from __future__ import annotations

from typing import Final

# The generation is absent if the namespace is new, or if Redis lost its data. A new generation starts at the time in
# milliseconds, so that a generation number is never used twice. With a repeated number, old values of that number could
# be read again.
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

# Changes the token of the near-caches to the last argument. The result `wait` is 1 if a near-cache may still hold a
# lease, so that the caller must wait. `wait` is 0 if no lease was ever given. `wait` is also 0 if no lease was
# given since the last change of the token and that change is more than 10 s old by Redis' clock. 10 s are much longer
# than a lease, so that a correction of the clock does no harm.
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

# Reads a value. The script has no further arguments -> the value, or nil
GET: Final = _READ_GENERATION % "false" + "return redis.call('GET', ARGV[1] .. g .. ':' .. ARGV[3])"

# Reads a value and gives a lease to a near-cache.
# Argument: new token -> {value or nil, its time to live in ms, token of the namespace}
GET_NEAR: Final = """
local near = redis.call('HMGET', KEYS[3], 'token', 'granted')
local token = near[1] or ARGV[4]
if near[2] ~= '1' then redis.call('HSET', KEYS[3], 'token', token, 'granted', '1') end
local g = redis.call('GET', KEYS[1])
if not g then return {false, 0, token} end
local value = ARGV[1] .. g .. ':' .. ARGV[3]
return {redis.call('GET', value), redis.call('PTTL', value), token}
"""

# Changes the token of the near-caches. Argument: new token -> wait
BREAK_NEAR: Final = _BREAK_NEAR + "return wait"

# Stores a value. Arguments: value, time to live in ms, new token -> {1 if the generation was created, wait}
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

# Reads a value, or takes the load lease if there is no value.
# Arguments: token, length of the lease in ms
# -> {value or nil, token of the lease's holder, 1 if the generation was created}
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

# Stores a loaded value if the load lease has not ended.
# Arguments: token, value, time to live in ms -> 1 if the value was stored, else 0
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

# Ends the load lease after a failed load, so that another caller can load. Argument: token -> 1 if the lease was held
RELEASE: Final = (
    _READ_GENERATION % "0"
    + _NAMES
    + "if redis.call('GET', lease) == ARGV[4] then return redis.call('DEL', lease) end return 0"
)

# Removes a value and ends its load lease. Argument: new token -> {1 if there was a value, wait}
INVALIDATE: Final = (
    _BREAK_NEAR
    + _READ_GENERATION % "{0, wait}"
    + _NAMES
    + "redis.call('DEL', lease) return {redis.call('UNLINK', value), wait}"
)

# Sets the time to live of a value. Arguments: time to live in ms, new token -> {1 if there is a value, wait}
EXPIRE: Final = (
    _BREAK_NEAR + _READ_GENERATION % "{0, wait}" + _NAMES + "return {redis.call('PEXPIRE', value, ARGV[4]), wait}"
)

# Reads the time to live of a value. The script has no further arguments -> milliseconds, or -2 without a value
TTL: Final = _READ_GENERATION % "-2" + _NAMES + "return redis.call('PTTL', value)"

# Starts a new generation, so that no value of the namespace can be read. Argument: new token -> {generation, wait}
NEXT_GENERATION: Final = (
    _CREATE_GENERATION
    + _BREAK_NEAR
    + "if created == 1 then return {tonumber(g), wait} end return {redis.call('INCR', KEYS[1]), wait}"
)

# Performs a step of a sweep: scans a part of the keyspace and removes the keys that match. This script
# has no KEYS. Its ARGV are:
#   1. cursor of SCAN
#   2. glob over physical keys
#   3. work to do: an examined key counts 1, and a removed key 2 more
#   4. COUNT of each SCAN
#   5. a generation, so that only keys of earlier generations match, or ''
#   6. '1' to remove the matching keys, else '0'.
# -> {next cursor, number of examined keys, number of removed keys, names of the matching keys that were not removed}.
# While Redis shrinks its table, one SCAN can return more keys than `unpack` can pass. So each UNLINK gets at most 1,000
# keys.
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
