-- Shared by every script; put before it when it is loaded.
local WINDOWS = {'minute', 'day', 'month', 'lifetime'}

-- How long a window's sums are kept, in ms, after the last hold in it; longer than any reservation of it can still
-- move. The lifetime of a request ends with the request; that of a wider scope never does.
local DAY_MS = 86400000
local KEPT_MS = {minute = 9 * DAY_MS, day = 45 * DAY_MS, month = 400 * DAY_MS}
local REQUEST_KEPT_MS = 45 * DAY_MS

-- The id of the server process. An epoch key survives a restart that lost a second of writes; this does not.
local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end

-- Why the books are closed to a guard of this epoch that read the ledger up to `seq_min`, or nil. A store behind
-- the ledger would give a seq away a second time.
local function store_changed(epoch_key, prefix, epoch, seq_min)
  local stored = redis.call('HMGET', epoch_key, 'epoch', 'run_id')
  if not stored[1] then return 'the store has no epoch' end
  if stored[1] ~= epoch then return 'the store is in epoch ' .. stored[1] end
  if stored[2] ~= run_id() then return 'the store restarted' end
  local seq = tonumber(redis.call('GET', prefix .. 'seq') or '0')
  if seq < tonumber(seq_min) then return 'the store is behind the ledger' end
  return nil
end

local function store_time()
  local time = redis.call('TIME')
  return {seconds = tonumber(time[1]), ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)}
end

-- Civil date of a Unix time. Source: Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
local function civil(seconds)
  local z = math.floor(seconds / 86400) + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return year, month, doy - math.floor((153 * mp + 2) / 5) + 1
end

-- Windows are UTC by the store's clock, so that every guard agrees and no time zone stretches a day.
local function window_id(window, now)
  if window == 'lifetime' then return 'all' end
  if window == 'minute' then return string.format('%.0f', math.floor(now.seconds / 60)) end
  local year, month, day = civil(now.seconds)
  if window == 'month' then return string.format('%04d-%02d', year, month) end
  return string.format('%04d-%02d-%02d', year, month, day)
end

local function limits_of(prefix)
  local flat = redis.call('HGETALL', prefix .. 'limits')
  local by_field, any_org = {}, false
  for i = 1, #flat, 2 do
    by_field[flat[i]] = flat[i + 1]
    if string.sub(flat[i], 1, 4) == 'org|' then any_org = true end
  end
  return {by_field = by_field, any_org = any_org}
end

-- Stamp a ledger entry with the next seq and put it into the outbox; returns the seq as digits.
local function append_entry(prefix, epoch, now, kind, amount, rest)
  local seq = string.format('%.0f', redis.call('INCR', prefix .. 'seq'))
  redis.call('ZADD', prefix .. 'outbox', seq, '{"epoch":' .. epoch .. ',"seq":' .. seq .. ',"kind":"' .. kind
    .. '","at_ms":' .. string.format('%.0f', now.ms) .. ',"amount_usd_nanos":' .. amount .. ',' .. rest .. '}')
  return seq
end
