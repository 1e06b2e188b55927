-- Takes seats for one or more passengers, all in Redis: the lowest that are free on every leg of the segment.
-- KEYS: the train-date's bookings, a scratch key, then for each leg of the segment the bits of its taken seats.
-- ARGV: request (and passenger), number of seats, number of passengers. Answers: the seats; 'full'; what was answered
-- before.
local told = redis.call('HGET', KEYS[1], ARGV[1])
if told then return told end
redis.call('BITOP', 'OR', KEYS[2], unpack(KEYS, 3))
local taken = {}
for passenger = 1, tonumber(ARGV[3]) do
  local seat = redis.call('BITPOS', KEYS[2], 0)
  if seat < 0 or seat >= tonumber(ARGV[2]) then
    taken = { 'full' }
    break
  end
  redis.call('SETBIT', KEYS[2], seat, 1)
  taken[passenger] = seat
end
for _, seat in ipairs(taken) do
  for leg = 3, seat ~= 'full' and #KEYS or 0 do redis.call('SETBIT', KEYS[leg], seat, 1) end
end
local answer = table.concat(taken, ',')
redis.call('HSET', KEYS[1], ARGV[1], answer)
return answer
