-- Set money aside for one attempt: over every scope and window, or not at all.
--
-- Atomic because the store runs one script at a time; idempotent because the attempt's id is looked up first.
-- Amounts arrive and leave as the digits of ARGV, or through %.0f: Lua would otherwise write 123456789012345 as
-- 1.2345678901234e+14. Sums stay below 2^53 by comparing `amount <= limit - counted`.
--
-- KEYS[1]  {org}:epoch      KEYS[2]  {org}:e<epoch>:  (prefix of the epoch's keys; same slot by its tag)
-- ARGV     epoch, seq_min, att, amount, body_sha256, frozen_ref, request_limit ('' for none),
--          reservation (JSON), entry (JSON fragment), keep_until_ms, scope, kind, scope, kind, ...
-- returns  {'held', reservation, seq, state} | {'no_money', scope, window} | {'frozen'} | {'id_reused'}
--          | {'no_budget'} | {'closed', why}
local epoch, att, amount = ARGV[1], ARGV[3], ARGV[4]
local body, frozen_ref, request_limit = ARGV[5], ARGV[6], ARGV[7]
local prefix = KEYS[2]

local why = store_changed(KEYS[1], prefix, epoch, ARGV[2])
if why then return {'closed', why} end

local record = prefix .. 'r:' .. att
local known = redis.call('HMGET', record, 'reservation', 'seq', 'state', 'body')
if known[1] then
  if known[4] ~= body then return {'id_reused'} end
  return {'held', known[1], known[2], known[3]}
end
if redis.call('EXISTS', prefix .. 'frozen:' .. frozen_ref) == 1 then return {'frozen'} end

local limits = limits_of(prefix)
if not limits.any_org then return {'no_budget'} end
local now = store_time()
local counted_in = {}
local function count_in(scope, window, limit)
  local key = 'w:' .. scope .. ':' .. window .. ':' .. window_id(window, now)
  local sums = redis.call('HMGET', prefix .. key, 'held', 'posted', 'suspended')
  local counted = tonumber(sums[1] or '0') + tonumber(sums[2] or '0') + tonumber(sums[3] or '0')
  counted_in[#counted_in + 1] = {key = key, scope = scope, window = window, limit = limit, counted = counted}
  return limit == nil or tonumber(amount) <= tonumber(limit) - counted
end

for i = 11, #ARGV, 2 do
  local scope, kind = ARGV[i], ARGV[i + 1]
  for _, window in ipairs(WINDOWS) do
    local limit = limits.by_field[scope .. '|' .. window] or limits.by_field[kind .. '|' .. window]
    if limit and not count_in(scope, window, limit) then return {'no_money', scope, window} end
    -- the whole of an org is always counted, so that books and bill can be compared over all time
    if not limit and kind == 'org' and window == 'lifetime' then count_in(scope, window, nil) end
  end
  if kind == 'request' and request_limit ~= '' and not count_in(scope, 'lifetime', request_limit) then
    return {'no_money', 'request', 'lifetime'}
  end
end

local scopes, keys = {}, {}
for i, c in ipairs(counted_in) do
  redis.call('HINCRBY', prefix .. c.key, 'held', amount)
  local kept_ms = KEPT_MS[c.window] or (string.sub(c.scope, 1, 7) == 'request' and REQUEST_KEPT_MS)
  if kept_ms then redis.call('PEXPIRE', prefix .. c.key, string.format('%.0f', kept_ms)) end
  keys[i] = c.key
  scopes[i] = '{"scope":' .. cjson.encode(c.scope) .. ',"window":"' .. c.window .. '","window_id":"'
    .. window_id(c.window, now) .. '"' .. (c.limit and ',"limit_usd_nanos":' .. c.limit or '')
    .. ',"counted_before_usd_nanos":' .. string.format('%.0f', c.counted) .. '}'
end
local scopes_json = '[' .. table.concat(scopes, ',') .. ']'
local seq = append_entry(prefix, epoch, now, 'held', amount, ARGV[9] .. ',"scopes":' .. scopes_json)
redis.call('HSET', record, 'state', 'held', 'amount', amount, 'seq', seq, 'body', body, 'reservation', ARGV[8],
  'entry', ARGV[9], 'scopes', scopes_json, 'keys', table.concat(keys, '\n'), 'frozen_ref', frozen_ref,
  'keep_until_ms', ARGV[10])
return {'held', ARGV[8], seq, 'held'}
