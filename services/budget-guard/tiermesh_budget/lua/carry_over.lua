-- Take the books of an ended epoch into the next one, under a ledger that begins empty.
--
-- Only for the embedded broker, whose ledger dies with it while the store was kept. What was held belongs to
-- calls that nobody can speak for any more: it is suspended, never freed.
--
-- KEYS[1]  {org}:epoch   KEYS[2]  {org}:e<old>:   KEYS[3]  {org}:e<new>:
-- ARGV     old epoch, new epoch, run_id
-- returns  {'done'} | {'closed', why}
if run_id() ~= ARGV[3] then return {'closed', 'the store restarted while it was carried over'} end
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return {'closed', 'another guard carried it over'} end

local old, new = KEYS[2], KEYS[3]
local pattern = string.gsub(old, '[%[%]%*%?\\]', '\\%0')
for _, key in ipairs(redis.call('KEYS', pattern .. '*')) do
  local name = string.sub(key, #old + 1)
  if name == 'seq' or name == 'outbox' then
    redis.call('DEL', key)
  else
    redis.call('RENAME', key, new .. name)
    if string.sub(name, 1, 2) == 'w:' then
      local held = redis.call('HGET', new .. name, 'held') or '0'
      redis.call('HINCRBY', new .. name, 'suspended', held)
      redis.call('HSET', new .. name, 'held', '0')
    elseif string.sub(name, 1, 2) == 'r:' then
      if redis.call('HGET', new .. name, 'state') == 'held' then redis.call('HSET', new .. name, 'state', 'suspended') end
      -- seqs of the old epoch name nothing in the new one
      redis.call('HSET', new .. name, 'seq', '0', 'last_seq', '0')
    end
  end
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'run_id', ARGV[3])
return {'done'}
