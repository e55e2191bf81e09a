-- Notes what a replica learned of one gate: that the API refused, has no more for now, accepts again, or never meant it.
--
-- KEYS[1]  hash of the bucket, `{prefix}:v1:{B}:s`
-- ARGV[1]  what: `shut` (a 429), `rest` (accepted, but the last one for now), `open` (the request that tried the gate was
--          accepted), `acquit` (the refusal turned out not to concern this gate), `verdict` (how far refusals of a family
--          reach: noted in the field `v:{family}` as "level time", and told)
-- ARGV[2]  me: the replica's id
-- ARGV[3]  remaining: how long the gate stays shut (us); 0 for `open` and `acquit`
-- ARGV[4]  sent: how long ago the request was sent whose answer says so (us)
-- ARGV[5]  rate that the replica knows, for a bucket that is not there (milli-requests a second): after a refusal the
--          one that it has lowered itself, so that `shut` then lowers nothing
-- ARGV[6]  what that rate has found: 0 nothing, 1 a limit, 2 that its ceiling holds
-- ARGV[7]  ceiling: the rate is never above this (milli-requests a second)
-- ARGV[8]  channel to tell the others on
-- ARGV[9]  message for them, sent as it is if the gate has moved; "" sends nothing
-- ARGV[10] and ARGV[11], for `verdict` alone: family and level
--
-- Returns four integers:
--   1 gate   time until the gate's instant (us); 0 if it is not shut
--   2 rate   in force (milli-requests a second)
--   3 moved  1 if the message was sent: the gate moved by more than 50 ms, or opened
--   4 cut    1 if this call has lowered the rate
--
-- Laws: the gate's instant never comes earlier but by `acquit`; the rate falls once an episode (what was sent before the
-- last cut says nothing new, nor does the one request that tries a gate), by the law of src/gate/learn.rs (decision
-- 0012); `open` counts only while the gate's time has come and nothing has shut it anew; `acquit` only if its request was
-- sent after every refused one. Times and errors as in acquire.lua.

local MAX = 9007199254740991
local SECOND = 1000000
local RETURN, STANDS, REMEMBERED = 20 * SECOND, 10 * SECOND, 120 * SECOND
local RATE_MIN, RATE_MAX = 1, 1000000000
local MOVED = 50000
-- Per mille below what was counted. Half of learn.rs's: what all replicas sent is counted exactly, and few are under way.
local DIP = 100
local KEPT_MS = 86400000

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local what, me = ARGV[1], ARGV[2]
local remaining, sent_ago, known, known_met, ceiling =
  tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local function whole(number)
  return string.format('%.0f', number)
end

if what == 'verdict' then
  redis.call('HSET', KEYS[1], 'v:' .. ARGV[10], ARGV[11] .. ' ' .. whole(now))
  redis.call('PEXPIRE', KEYS[1], KEPT_MS)
  if ARGV[9] ~= '' then redis.call('PUBLISH', ARGV[8], ARGV[9]) end
  return { 0, 0, 1, 0 }
end

local NAMES = { 'tat', 'gate', 'half', 'lease', 'rate', 'met', 'anchor', 'dip', 'since', 'grown', 'cut', 'began',
  'sent', 'busy', 'last', 'acquitted', 'refused', 'before', 'past_sent', 'past_us', 'stood', 'whole', 'spared', 'owner' }
local raw = redis.call('HMGET', KEYS[1], unpack(NAMES))
local s = { owner = raw[24] or '' }
for i = 1, 23 do
  local number = tonumber(raw[i] or '0')
  if not number or number ~= number or number < 0 or number > MAX then
    return redis.error_reply('TOLLGATE garbage in field ' .. NAMES[i] .. ' of ' .. KEYS[1])
  end
  s[NAMES[i]] = number
end

if s.last > now then
  local step = s.last - now
  for _, name in ipairs({ 'tat', 'gate', 'lease', 'grown', 'cut', 'began', 'acquitted', 'refused', 'spared' }) do
    s[name] = math.max(0, s[name] - step)
  end
end

local was_there = s.rate > 0
if not was_there then
  s.rate, s.met, s.anchor, s.dip, s.since = known, known_met, known, DIP, RETURN
  s.stood = known_met == 2 and STANDS or 0
  s.grown, s.began = now, now
end

local interval = math.ceil(1000000000 / math.max(RATE_MIN, s.rate))
local old = math.max(s.gate, now)
local moved, is_cut = false, false
local sent_at = math.max(0, now - sent_ago)

-- What was counted lately; older counts fade so that all together reach back no further than REMEMBERED.
local function remember(count, span)
  local kept = math.max(0, math.min(1, (REMEMBERED - span) / math.max(1, s.past_us)))
  s.past_sent = s.past_sent * kept + count
  s.past_us = s.past_us * kept + span
end

local function cut(until_at)
  local open_for = math.max(0, now - s.began)
  -- Slots that are booked but not yet due will not be used.
  local sent = math.max(0, s.sent - math.floor(math.max(0, s.tat - now) / interval))
  local function believed(count, span)
    local counted = count / (span / SECOND) / (s.rate / 1000)
    return s.rate * math.max(0.25, math.min(1, counted + (1 - counted) * 0.7))
  end
  s.before = s.rate
  if s.met == 0 then
    s.anchor, s.dip, s.met = s.rate * 0.5, DIP, 1
  elseif s.met == 2 then
    -- What began later than the standing says less than that; and of a bucket that was full nothing is kept.
    local is_counted = open_for >= STANDS and s.busy * 2 > open_for
    s.anchor = is_counted and believed(sent, until_at - s.began) or s.rate
    s.dip, s.met = DIP, 1
  elseif s.busy * 2 > open_for then
    remember(sent, math.max(1, until_at - s.began))
    s.anchor = believed(s.past_sent, s.past_us)
    s.dip = open_for < RETURN / 2 and math.min(s.dip * 2, 500) or DIP
  else
    s.anchor, s.dip = math.min(s.anchor, s.rate), DIP
  end
  s.since = 0
  s.rate = math.max(RATE_MIN, math.min(s.anchor * (1 - s.dip / 1000), ceiling, RATE_MAX))
end

if what == 'shut' or what == 'rest' then
  local until_at = now + remaining
  if what == 'shut' and not was_there then
    s.cut = now
  elseif what == 'shut' and sent_at > s.cut then
    -- Before the first of refusals that follow each other closely.
    if s.whole == 0 or now - s.cut > RETURN / 2 then s.whole = s.rate end
    -- While the gate is shut or tried, one request at most has gone: the rate was not what was refused.
    if s.cut > 0 and s.sent <= 1 then
      remember(0, math.max(1, until_at - s.began))
    else
      cut(until_at)
      is_cut = true
    end
    s.cut = now
  end
  if what == 'shut' then s.refused = math.max(s.refused, sent_at) end
  s.gate = math.max(s.gate, until_at)
  if s.half == 0 or what == 'shut' then
    s.began, s.sent, s.busy, s.grown = s.gate, 0, 0, s.gate
  end
  s.half, s.owner, s.lease = 1, '', 0
  s.tat = math.max(s.tat, s.gate)
  moved = s.gate - old > MOVED
elseif what == 'open' then
  if s.half == 1 and s.gate <= now then
    s.half, s.owner, s.lease = 0, '', 0
    -- What waits goes out paced, not as a burst.
    s.tat, s.grown = now + interval, now
    moved = true
  end
elseif what == 'acquit' then
  if s.half == 1 and sent_at > s.refused then
    if s.before > 0 then s.rate, s.anchor, s.since, s.before = s.before, s.before, RETURN, 0 end
    s.gate, s.half, s.owner, s.lease = 0, 0, '', 0
    s.tat, s.grown, s.began, s.sent, s.busy = now + interval, now, now, 0, 0
    s.acquitted, s.whole = now, 0
    moved = true
  end
else
  return redis.error_reply('TOLLGATE no such report: ' .. what)
end
s.rate = math.floor(s.rate)

redis.call('HSET', KEYS[1], 'tat', whole(s.tat), 'gate', whole(s.gate), 'half', whole(s.half), 'owner', s.owner,
  'lease', whole(s.lease), 'rate', whole(s.rate), 'met', whole(s.met), 'anchor', whole(s.anchor),
  'dip', whole(s.dip), 'since', whole(s.since), 'grown', whole(s.grown), 'cut', whole(s.cut),
  'began', whole(s.began), 'sent', whole(s.sent), 'busy', whole(s.busy), 'last', whole(now),
  'acquitted', whole(s.acquitted), 'refused', whole(s.refused), 'before', whole(s.before),
  'past_sent', whole(s.past_sent), 'past_us', whole(s.past_us), 'stood', whole(s.stood), 'whole', whole(s.whole),
  'spared', whole(s.spared))
redis.call('PEXPIRE', KEYS[1], KEPT_MS + math.ceil(math.max(0, s.gate - now) / 1000))
if moved and ARGV[9] ~= '' then
  redis.call('PUBLISH', ARGV[8], ARGV[9])
end
return { math.max(0, s.gate - now), s.rate, moved and 1 or 0, is_cut and 1 or 0 }
