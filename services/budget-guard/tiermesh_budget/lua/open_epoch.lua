-- Activate an epoch whose fence was read back from the ledger, unless a higher one is stored.
--
-- KEYS[1]  {org}:epoch      ARGV  epoch, run_id
-- returns  {'done'} | {'closed', why}
if run_id() ~= ARGV[2] then return {'closed', 'the store restarted while the epoch was opened'} end
local stored = redis.call('HGET', KEYS[1], 'epoch')
if stored and tonumber(stored) > tonumber(ARGV[1]) then return {'closed', 'a higher epoch is stored'} end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'run_id', ARGV[2])
return {'done'}
