"""The Lua scripts of the cache. Each script makes a few O(1) commands atomic, except `SWEEP`.

All scripts except `SWEEP` have the same KEYS, which are control keys of one namespace: its generation, its epoch, and
its hash for the near-caches. ARGV[1] to ARGV[3] of a script for one logical key are the prefix of the namespace's
values, the prefix of its load leases, and the key. The comment at each script describes ARGV[4] and the ARGV after it.

A script builds the physical keys of a value and of its load lease from the two prefixes in ARGV. A namespace's physical
keys are all in one hash slot, because they have the same hash tag.
"""

from __future__ import annotations

from typing import Final

# Sets `g` to the namespace's generation, and creates the generation if the namespace is new or Redis lost its data. The
# first generation is the time in ms since 1970, so that no number is used twice. If a new generation had the number of
# an earlier generation, values of the earlier generation could be read again.
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

# If a near-cache may hold a lease for the namespace, changes the namespace's token for the near-caches to the last of
# ARGV, and sets `wait` to 1. With `wait` 1, the caller waits until the leases of the near-caches have expired.
#
# `wait` is 0 if no near-cache ever got a lease for the namespace. `wait` is also 0 if the namespace's token changed
# more than 10 s ago by Redis' clock, and no near-cache got a lease after the change. Near-caches can then hold no
# lease, because a lease of a near-cache lasts 50 ms. The limit is 10 s and not 50 ms, so that a correction of Redis'
# clock by a few seconds cannot end the wait too early.
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

# Reads the value of a key.
# Result: the encoded value, or nil if the key is absent.
GET: Final = _READ_GENERATION % "false" + "return redis.call('GET', ARGV[1] .. g .. ':' .. ARGV[3])"

# Reads the value of a key, and gives the caller's near-cache a lease for the namespace.
# ARGV[4]: the token that the namespace gets for its near-caches if it has none.
# Result: {the encoded value or nil, the value's remaining time to live in ms, the namespace's token for the
# near-caches}.
GET_NEAR: Final = """
local near = redis.call('HMGET', KEYS[3], 'token', 'granted')
local token = near[1] or ARGV[4]
if near[2] ~= '1' then redis.call('HSET', KEYS[3], 'token', token, 'granted', '1') end
local g = redis.call('GET', KEYS[1])
if not g then return {false, 0, token} end
local value = ARGV[1] .. g .. ':' .. ARGV[3]
return {redis.call('GET', value), redis.call('PTTL', value), token}
"""

# Changes the namespace's token for the near-caches, so that they drop their values of the namespace.
# ARGV: the namespace's new token for the near-caches, and nothing else.
# Result: 1 if the caller must wait for the near-caches' leases, else 0.
BREAK_NEAR: Final = _BREAK_NEAR + "return wait"

# Stores the value of a key, and ends the load lease of the key.
# ARGV[4] to ARGV[6]: the encoded value, its time to live in ms, and the namespace's new token for the near-caches.
# Result: {1 if the namespace's generation was created, 1 if the caller must wait for the near-caches' leases}.
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

# Reads the value of a key, or takes the key's load lease if there is no value.
# ARGV[4], ARGV[5]: the token of the caller's load, and the length of the load lease in ms.
# Result: {the encoded value or nil, the token of the load that holds the lease, 1 if the namespace's generation was
# created}.
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

# Stores a loaded value if the load still holds the key's load lease.
# ARGV[4] to ARGV[6]: the token of the load, the encoded value, and the value's time to live in ms.
# Result: 1 if the value was stored, else 0.
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

# Ends the load lease of a key after a failed load, so that another caller can load the value.
# ARGV[4]: the token of the failed load.
# Result: 1 if the failed load still held the load lease of the key, else 0.
RELEASE: Final = (
    _READ_GENERATION % "0"
    + _NAMES
    + "if redis.call('GET', lease) == ARGV[4] then return redis.call('DEL', lease) end return 0"
)

# Removes the value of a key, and ends the load lease of the key.
# ARGV[4]: the namespace's new token for the near-caches.
# Result: {1 if there was a value, 1 if the caller must wait for the near-caches' leases}.
INVALIDATE: Final = (
    _BREAK_NEAR
    + _READ_GENERATION % "{0, wait}"
    + _NAMES
    + "redis.call('DEL', lease) return {redis.call('UNLINK', value), wait}"
)

# Sets the time to live of a value.
# ARGV[4], ARGV[5]: the time to live in ms, and the namespace's new token for the near-caches.
# Result: {1 if there is a value, 1 if the caller must wait for the near-caches' leases}.
EXPIRE: Final = (
    _BREAK_NEAR + _READ_GENERATION % "{0, wait}" + _NAMES + "return {redis.call('PEXPIRE', value, ARGV[4]), wait}"
)

# Reads the remaining time to live of a value.
# Result: the time to live in ms, -1 if the value never expires, or -2 if there is no value.
TTL: Final = _READ_GENERATION % "-2" + _NAMES + "return redis.call('PTTL', value)"

# Starts a new generation, so that no value of the namespace can be read.
# ARGV: the namespace's new token for the near-caches, and nothing else.
# Result: {the new generation, 1 if the caller must wait for the near-caches' leases}.
NEXT_GENERATION: Final = (
    _CREATE_GENERATION
    + _BREAK_NEAR
    + "if created == 1 then return {tonumber(g), wait} end return {redis.call('INCR', KEYS[1]), wait}"
)

# Performs a step of a sweep: scans a part of the keyspace, and removes or lists the keys that match. There are no KEYS.
#
# ARGV[1]: the cursor of SCAN at which the step begins.
#
# ARGV[2]: a glob for full key names in Redis (physical keys). The sweep covers only keys that match the glob.
#
# ARGV[3]: the units of work after which the step ends. The step counts 1 unit for a key that it examines, and 3 units
# for a key that it examines and removes.
#
# ARGV[4]: the COUNT of each SCAN in the step, that is, about the number of keys that a SCAN examines.
#
# ARGV[5]: a generation, so that only values of earlier generations match, or '' for values of any generation.
#
# ARGV[6]: '1' to remove the matching keys, or '0' to return the names of the matching keys.
#
# Result: {cursor for the next step, number of examined keys, number of removed keys, names of the matching keys that
# were not removed}.
#
# Each UNLINK gets at most 1,000 keys, because while Redis shrinks its table, one SCAN can return more keys than
# `unpack` can pass to a command.
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
