-- The reservation of an attempt, if there is one: whoever ends a request asks first whether money is held for it.
--
-- KEYS[1]  {org}:epoch      KEYS[2]  {org}:e<epoch>:
-- ARGV     epoch, seq_min, att
-- returns  {'held', reservation, seq, state} | {'none'} | {'closed', why}
local why = store_changed(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if why then return {'closed', why} end
local known = redis.call('HMGET', KEYS[2] .. 'r:' .. ARGV[3], 'reservation', 'seq', 'state')
if not known[1] then return {'none'} end
return {'held', known[1], known[2], known[3]}
