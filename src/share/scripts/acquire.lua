-- Books time slots of one bucket for one replica, and keeps that replica's membership alive.
--
-- KEYS[1]  hash of the bucket, `{prefix}:v1:{B}:s`
-- KEYS[2]  hash of its members, `{prefix}:v1:{B}:m`: replica -> "expiry weight"
-- ARGV[1]  me: the replica's id, no spaces
-- ARGV[2]  want: requests that wait without a slot; 0 only keeps the membership alive
-- ARGV[3]  horizon: slots are booked no later than this from now (us)
-- ARGV[4]  ceiling: the rate is never above this (milli-requests a second)
-- ARGV[5]  burst: slots that may be due at once after a quiet time (at least 1)
-- ARGV[6]  weight: the replica's active tenants; 0 while it has none
-- ARGV[7]  ttl: how long the membership lasts without another call (us)
-- ARGV[8]  rate that the replica knows, for a bucket that is not there (milli-requests a second)
-- ARGV[9]  what that rate has found: 0 nothing, 1 a limit, 2 that its ceiling holds
-- ARGV[10] lease: how long one replica alone may try a gate whose time has come (us)
-- ARGV[11] 1 while the replica goes by its part of the rate, without slots: what it sends is not in them
-- ARGV[12] 1 if members of this bucket call before their ttl is over though nobody waits
--
-- Returns twelve integers:
--   1 k         slots booked; slot i (from 0) is due at first + i * interval
--   2 first     due time of the first slot, relative to now (us); negative while a burst is there to be used
--   3 interval  between slots at the rate in force (us)
--   4 gate      time until the gate's instant (us); 0 if it is not shut
--   5 members   replicas alive, this one included
--   6 weights   sum of their weights, of this one as given
--   7 rate      in force (milli-requests a second)
--   8 met       what the rate has found, as ARGV[9]
--   9 phase     0 open, 1 shut, 2 this replica tries the gate with the one slot it got, 3 it is being tried
--  10 wait      with k = 0: when asking again can help (us)
--  11 acquitted time since the gate was last found to have been shut for no reason (us), -1 if never
--  12 fresh     1 if there was no such bucket: whoever knows of a shut gate should say so again. Its first slot is due one
--               horizon from now, without a burst: the bucket may have been lost while slots of it are in hand
--
-- Laws: slots are `interval` apart, so never more than rate * time + burst; no slot while the gate is shut, one at a time
-- until one was accepted; the rate follows src/gate/learn.rs (decision 0012), and grows here and only while slots are
-- booked ahead. Who falls silent while the API refuses is taken for cut off, not for dead: the others leave it its part
-- (decision 0017), noted in `blind` as "replica:part". Every time is TIME's of this server in whole microseconds (below 2^53) and leaves it as a difference
-- alone. What is no number where one must be is an error that begins with TOLLGATE and names the field.

local MAX = 9007199254740991
local RETURN, STANDS, SECOND = 20000000, 10000000, 1000000
-- Per mille: what is left of a part without the others being seen, and how far below its anchor a rate starts.
local ALONE, DIP = 800, 100
local MOST_BLIND = 16
local RATE_MIN, RATE_MAX = 1, 1000000000
local KEPT_MS = 86400000

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local me = ARGV[1]
local want, horizon, ceiling, burst = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local weight, ttl, known, known_met = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local lease_for, is_alone, does_beat = tonumber(ARGV[10]), ARGV[11] == '1', ARGV[12] == '1'

-- tostring() would write 1.7e+15 and lose digits.
local function whole(number)
  return string.format('%.0f', number)
end

local NAMES = { 'tat', 'gate', 'half', 'lease', 'rate', 'met', 'anchor', 'dip', 'since', 'grown', 'cut', 'began',
  'sent', 'busy', 'last', 'acquitted', 'refused', 'stood', 'whole', 'spared', 'owner', 'blind' }
local raw = redis.call('HMGET', KEYS[1], unpack(NAMES))
local is_fresh = not raw[1]
local s = { owner = raw[21] or '', blind = raw[22] or '' }
for i = 1, 20 do
  local number = tonumber(raw[i] or '0')
  if not number or number ~= number or number < 0 or number > MAX then
    return redis.error_reply('TOLLGATE garbage in field ' .. NAMES[i] .. ' of ' .. KEYS[1])
  end
  s[NAMES[i]] = number
end

-- The clock went back: everything that was noted goes back with it, or slots and gates would be hours ahead.
if s.last > now then
  local step = s.last - now
  for _, name in ipairs({ 'tat', 'gate', 'lease', 'grown', 'cut', 'began', 'acquitted', 'refused', 'spared' }) do
    s[name] = math.max(0, s[name] - step)
  end
end

-- Members: this one alive, the dead forgotten.
local members, weights = 1, math.max(weight, want > 0 and 1 or 0)
local mine = weights
local silent = {}
local rows = redis.call('HGETALL', KEYS[2])
for i = 1, #rows, 2 do
  local replica, expiry, its = rows[i], string.match(rows[i + 1], '^(%d+) (%d+)$')
  expiry, its = tonumber(expiry), tonumber(its)
  if not expiry or not its or expiry > MAX or its > MAX then
    return redis.error_reply('TOLLGATE garbage in field ' .. replica .. ' of ' .. KEYS[2])
  end
  if replica ~= me then
    -- Beyond a whole life it was noted by a clock that has gone back.
    if expiry <= now or expiry > now + 2 * ttl then
      -- It had what to send, and may be served unseen: a refusal since it was last heard of says so.
      local may_be_blind = does_beat and its > 0 and expiry <= now and now < expiry + STANDS
      local is_blind = may_be_blind and s.cut > expiry - ttl
      if is_blind then silent[#silent + 1] = replica end
      if is_blind or not may_be_blind then redis.call('HDEL', KEYS[2], replica) end
    else
      members, weights = members + 1, weights + its
    end
  end
end
redis.call('HSET', KEYS[2], me, whole(now + ttl) .. ' ' .. whole(mine))
redis.call('PEXPIRE', KEYS[2], math.ceil(ttl / 500))

if s.rate == 0 then
  s.rate, s.met, s.anchor, s.dip, s.since = known, known_met, known, 200, RETURN
  s.stood = known_met == 2 and STANDS or 0
  s.grown, s.began = now, now
  -- Slots of a bucket that was lost may still be in hand: what they take is over by then.
  s.tat = now + horizon
end

local top = math.min(ceiling, RATE_MAX)

if #silent > 0 and s.whole > 0 then
  -- Each goes on by its part of the rate, and a little less: that much is theirs until they are back.
  local blind = {}
  for one in string.gmatch(s.blind, '%S+') do blind[#blind + 1] = one end
  -- Those who were cut off together do not fall silent in the same moment.
  local is_one_event = #blind > 0 and now - s.spared < STANDS
  local all = members + #silent + (is_one_event and #blind or 0)
  local part = math.floor(s.whole * ALONE / 1000 / all)
  s.anchor = (is_one_event and s.anchor or s.whole) - part * #silent
  s.anchor = math.max(s.anchor, s.whole * (1 - ALONE / 1000))
  for _, replica in ipairs(silent) do blind[#blind + 1] = replica .. ':' .. whole(part) end
  s.blind = table.concat(blind, ' ', math.max(1, #blind - MOST_BLIND + 1))
  s.rate, s.dip, s.since, s.met, s.spared = s.anchor * (1 - DIP / 1000), DIP, 0, 1, now
  -- What was saved up at another rate is no burst at this one.
  s.tat = math.max(s.tat, now)
  -- What was counted before went to fewer.
  redis.call('HSET', KEYS[1], 'past_sent', 0, 'past_us', 0)
elseif s.blind ~= '' then
  local left, part = {}, nil
  for replica, its in string.gmatch(s.blind, '(%S+):(%d+)') do
    if replica == me then part = tonumber(its) else left[#left + 1] = replica .. ':' .. its end
  end
  if part then
    -- It is back, and books its slots as all do: what was left to it is for all again.
    s.blind = table.concat(left, ' ')
    if s.met == 1 then
      s.anchor = math.min(math.max(s.anchor, s.rate) + part, top)
      s.rate, s.since, s.tat = s.anchor, RETURN, math.max(s.tat, now)
    end
  end
end

local k, first, phase, wait = 0, 0, 0, 0

if s.gate > now then
  phase, wait = 1, s.gate - now
else
  -- What the rate was learned from begins where the gate reopened.
  if s.began < s.gate then s.began = s.gate end
  if s.grown < s.gate then s.grown = s.gate end

  -- Slots are booked ahead: somebody waits for what the rate does not yet give.
  if want > 0 and s.half == 0 and s.tat > now then
    local passed = math.max(0, math.min(now - s.grown, SECOND))
    s.busy = s.busy + passed
    if s.met == 1 then
      s.since = s.since + passed
      local way = s.since / RETURN - 1
      local steep = way < 0 and s.dip or 200
      s.rate = s.anchor * (1 + steep / 1000 * way * way * way)
    elseif s.rate < top then
      s.met, s.stood, s.rate = 0, 0, s.rate * (1 + passed / SECOND)
    else
      -- The search has ended where it may go no further.
      s.stood = s.stood + passed
      if s.stood >= STANDS then s.met = 2 end
    end
  end
  s.grown = now
end
s.rate = math.floor(math.max(RATE_MIN, math.min(s.rate, top)))
local interval = math.ceil(1000000000 / s.rate)

-- Nothing that was rightly booked reaches beyond this.
s.tat = math.min(s.tat, math.max(now, s.gate) + horizon + 60 * SECOND + 2 * (members + burst) * interval)

-- What goes out unseen is no burst saved up.
if is_alone then s.tat = math.max(s.tat, now) end

if phase == 0 and s.half == 1 then
  -- Its owner, too, waits for the answer to the one request that tries it.
  if s.lease > now then
    phase, wait = 3, s.lease - now
  else
    phase = 3
    if want > 0 then
      k, phase, s.owner, s.lease = 1, 2, me, now + lease_for
      s.sent = s.sent + 1
      s.tat = math.max(s.tat, now + interval)
    end
  end
elseif phase == 0 and want > 0 then
  local start = math.max(s.tat, now - (burst - 1) * interval)
  local room = 0
  if start <= now + horizon then
    room = math.floor((now + horizon - start) / interval) + 1
  end
  k = math.min(want, room)
  if weights > mine then
    -- A part of a slot is given as often as it is large: always rounded up, small parts would be too large. Multiples of the
    -- golden ratio spread evenly, whatever is booked at a time.
    k = math.min(k, math.floor(horizon / interval * mine / weights + s.sent * 0.6180339887 % 1))
  end
  -- Who has no slot may always book one, however far ahead: so all take turns.
  k = math.max(k, 1)
  first = start - now
  s.tat = start + k * interval
  s.sent = s.sent + k
end

redis.call('HSET', KEYS[1], 'tat', whole(s.tat), 'gate', whole(s.gate), 'half', whole(s.half), 'owner', s.owner,
  'lease', whole(s.lease), 'rate', whole(s.rate), 'met', whole(s.met), 'anchor', whole(s.anchor),
  'dip', whole(s.dip), 'since', whole(s.since), 'grown', whole(s.grown), 'cut', whole(s.cut),
  'began', whole(s.began), 'sent', whole(s.sent), 'busy', whole(s.busy), 'last', whole(now),
  'acquitted', whole(s.acquitted), 'refused', whole(s.refused), 'stood', whole(s.stood), 'spared', whole(s.spared),
  'blind', s.blind)
redis.call('PEXPIRE', KEYS[1], KEPT_MS + math.ceil(math.max(0, s.gate - now) / 1000))

local acquitted = -1
if s.acquitted > 0 then acquitted = math.max(0, now - s.acquitted) end
return { k, first, interval, math.max(0, s.gate - now), members, weights, s.rate, s.met, phase, wait, acquitted,
  is_fresh and 1 or 0 }
