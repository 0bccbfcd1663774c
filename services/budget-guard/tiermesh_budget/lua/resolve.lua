-- Resolve a reservation by evidence, at most once.
--
--   held      -> settled | released | suspended
--   suspended -> settled | released
--   released, then evidence of cost -> the cost is posted in full as an overrun of its own
--
-- More than was held is posted in full: `settled` for what was held, `overrun` for the rest, and the model is
-- frozen until an operator looks.
--
-- KEYS[1]  {org}:epoch      KEYS[2]  {org}:e<epoch>:
-- ARGV     epoch, seq_min, att, to (settled | released | suspended), cost (digits; '0' unless settled)
-- returns  {'done', seq} | {'already', state, seq} | {'unknown'} | {'closed', why}
local epoch, att, to, cost = ARGV[1], ARGV[3], ARGV[4], ARGV[5]
local prefix = KEYS[2]
-- before any effect: a sum that refused such an amount would leave the script half done
if tonumber(cost) > 9007199254740991 then return redis.error_reply('ERR a cost beyond 2^53') end
local why = store_changed(KEYS[1], prefix, epoch, ARGV[2])
if why then return {'closed', why} end

local record = prefix .. 'r:' .. att
local known = redis.call('HMGET', record, 'state', 'amount', 'entry', 'scopes', 'keys', 'frozen_ref', 'keep_until_ms',
  'last_seq', 'overrun')
local state, amount, entry, scopes = known[1], known[2], known[3], known[4]
if not state then return {'unknown'} end
local now = store_time()
local tail = entry .. ',"scopes":' .. scopes

local function move(field, digits)
  for key in string.gmatch(known[5], '[^\n]+') do
    -- a window whose sums are no longer kept is not begun anew
    if redis.call('EXISTS', prefix .. key) == 1 then redis.call('HINCRBY', prefix .. key, field, digits) end
  end
end
local function append(kind, digits, freed, from_suspended)
  return append_entry(prefix, epoch, now, kind, digits, '"freed_usd_nanos":' .. freed .. ',"from_suspended":'
    .. (from_suspended and 'true' or 'false') .. ',' .. tail)
end
local function overrun(digits)
  move('posted', digits)
  redis.call('HSET', record, 'overrun', digits)
  redis.call('SET', prefix .. 'frozen:' .. known[6], att)
  return append('overrun', digits, '0', false)
end

local seq
if state == 'released' and to == 'settled' and tonumber(cost) > 0 and not known[9] then
  seq = overrun(cost)
elseif state == 'settled' or state == 'released' or state == to then
  return {'already', state, known[8] or '0'}
else
  local from_suspended = state == 'suspended'
  if amount ~= '0' then move(from_suspended and 'suspended' or 'held', '-' .. amount) end -- '-0' is no integer
  if to == 'settled' then
    local excess = tonumber(cost) - tonumber(amount)
    local posted = excess > 0 and amount or cost
    move('posted', posted)
    seq = append('settled', posted, amount, from_suspended)
    if excess > 0 then seq = overrun(string.format('%.0f', excess)) end
  else
    if to == 'suspended' then move('suspended', amount) end
    seq = append(to, amount, amount, from_suspended)
  end
  redis.call('HSET', record, 'state', to)
end
redis.call('HSET', record, 'last_seq', seq)
if to ~= 'suspended' then redis.call('PEXPIREAT', record, known[7]) end
return {'done', seq}
