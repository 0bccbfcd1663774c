-- Make the limits in force exactly those given; each change is a ledger entry.
--
-- KEYS[1]  {org}:epoch      KEYS[2]  {org}:e<epoch>:
-- ARGV     epoch, seq_min, entry (JSON fragment), scope, window, limit, scope, window, limit, ...
-- returns  {'done', seq of the last change or '0'} | {'closed', why}
local epoch, entry = ARGV[1], ARGV[3]
local prefix = KEYS[2]
local why = store_changed(KEYS[1], prefix, epoch, ARGV[2])
if why then return {'closed', why} end

local now = store_time()
local key = prefix .. 'limits'
local seq = '0'
local function record(scope, window, limit)
  local limit_json = limit and ',"limit_usd_nanos":' .. limit or ''
  seq = append_entry(prefix, epoch, now, 'limit_set', '0', entry .. ',"scopes":[{"scope":' .. cjson.encode(scope)
    .. ',"window":"' .. window .. '","window_id":""' .. limit_json .. '}]')
end

local wanted = {}
for i = 4, #ARGV, 3 do
  local field = ARGV[i] .. '|' .. ARGV[i + 1]
  wanted[field] = true
  if redis.call('HGET', key, field) ~= ARGV[i + 2] then
    redis.call('HSET', key, field, ARGV[i + 2])
    record(ARGV[i], ARGV[i + 1], ARGV[i + 2])
  end
end
for _, field in ipairs(redis.call('HKEYS', key)) do
  if not wanted[field] then
    redis.call('HDEL', key, field)
    record(string.match(field, '^(.*)|'), string.match(field, '|([^|]*)$'), nil)
  end
end
return {'done', seq}
