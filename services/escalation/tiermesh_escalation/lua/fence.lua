-- Who may make the one call of an attempt, decided in one step and by the store's own clock.
--
-- KEYS[1]  {org}:epoch       hash: epoch, run_id; written by budget-guard, only read here
-- KEYS[2]  {org}:f:<att>     hash: state (open | void | finished), owner, epoch, started_ms, lease_until_ms
-- ARGV     owner, epoch of the grant, state wanted (open | void), lease_ms, ttl_ms
-- returns  {verdict, lease_until_ms, now_ms}
--
-- fenced         the call is the caller's: it holds the fence and has not called yet
-- void           nobody called and nobody will
-- held           another holds it, or an earlier life of the caller; its lease runs
-- lease_over     it was held and nobody finished it: whether a call was made is unknown
-- finished       an outcome was written
-- foreign_epoch  this store cannot speak for the grant: another epoch, no epoch, or the store restarted

local owner, epoch, wanted = ARGV[1], ARGV[2], ARGV[3]

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function answer(verdict, lease_until_ms)
  return {verdict, lease_until_ms or 0, now_ms}
end

-- The epoch key alone proves nothing: a store that lost its last second comes back with the key and without
-- the fences of that second, but its run_id has changed.
local function speaks_for_grant()
  local stored = redis.call('HMGET', KEYS[1], 'epoch', 'run_id')
  return stored[1] == epoch and stored[2] == string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end

local fence = redis.call('HMGET', KEYS[2], 'state', 'owner', 'epoch', 'lease_until_ms')
local state, lease_until_ms = fence[1], tonumber(fence[4] or 0)

if state == 'finished' then return answer('finished') end
if state == 'open' then
  if now_ms >= lease_until_ms then return answer('lease_over', lease_until_ms) end
  if fence[2] ~= owner then return answer('held', lease_until_ms) end
end
if not speaks_for_grant() then return answer('foreign_epoch') end
if state and fence[3] ~= epoch then return answer('foreign_epoch') end
if state == 'void' then return answer('void') end

-- Free, or the owner's own: it asks again because the first answer was lost on its way, and has not called.
lease_until_ms = now_ms + tonumber(ARGV[4])
-- Whole digits by format, as in every script here: Lua's own conversions round from the 15th digit on.
redis.call('HSET', KEYS[2], 'state', wanted, 'owner', owner, 'epoch', epoch,
  'started_ms', string.format('%.0f', now_ms), 'lease_until_ms', string.format('%.0f', lease_until_ms))
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return answer(wanted == 'open' and 'fenced' or 'void', lease_until_ms)
