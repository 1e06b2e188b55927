#!lua name=interlock_ledger_5

-- The writes of a ledger, each all or nothing. Library and functions carry the version of what they store: two versions
-- of the program may run side by side. What is stored and why: lib.rs.
--
-- Rules of this file:
--   * Redis doesn't roll back, so every check comes before the first write.
--   * All keys are declared and have one hash tag: a cluster answers TRYAGAIN before the start, not an error half-way.
--   * Numbers stay text: as a Lua number an offset beyond 2^53 would equal its neighbour.
--   * Without `allow-oom` a function is refused as a whole when maxmemory is reached; once begun, it isn't interrupted.
--     What gives up, drains or takes over a ledger is small and must be possible then, too.
--   * No function is `no-writes`, not even `state`: a replica refuses them all, so it can't answer for its master.
--
-- KEYS: meta, then (where documents are written) the set of documents, the outbox, the documents themselves.
-- A document of more fields than one command takes is there more than once.
-- ARGV: application, then (where the ledger must be held) epoch and token, then what the function needs.
-- Answers: {'ok', ..}, {'fenced', epoch, token}, {'behind', applied offset}, {'application', name}, {'format', version},
-- {'refused', reason}, {'documents'}; '' stands for none.

local FORMAT = '1'

-- How many values unpack() may put on Lua's stack (limit: 8,000).
local CHUNK = 7000

-- All commands that the functions call, and those used for reading: a missing right is reported before anything is
-- written.
local RIGHTS = {
  'EXISTS', 'HDEL', 'HGET', 'HGETALL', 'HINCRBY', 'HKEYS', 'HMGET', 'HSET', 'SADD', 'SCARD', 'SISMEMBER', 'SREM',
  'UNLINK',
}

local META, DOCUMENTS, OUTBOX, FIRST_DOCUMENT = 1, 2, 3, 4

-- Is the ledger one of this application's, in a format known here? Returns its head, or nil and the refusal.
local function head(keys, args)
  local found = redis.call('HMGET', keys[META],
    'format', 'application', 'epoch', 'token', 'applied', 'rebuilding')
  if found[1] and found[1] ~= FORMAT then
    return nil, { 'format', found[1] }
  end
  if found[2] and found[2] ~= args[1] then
    return nil, { 'application', found[2] }
  end
  return {
    epoch = found[3] or '0',
    token = found[4] or '',
    applied = found[5] or '',
    -- How many writes of a rebuild that was begun there were; none where there is no such.
    rebuilding = found[6],
  }
end

-- Does the caller hold the ledger? Both are compared for equality, not order. A ledger that was never acquired has no
-- holder.
local function held(keys, args)
  local found, refusal = head(keys, args)
  if found and (found.epoch == '0' or found.epoch ~= args[2] or found.token ~= args[3]) then
    return nil, { 'fenced', found.epoch, found.token }
  end
  return found, refusal
end

local function call_in_chunks(command, key, values, first, last)
  while first <= last do
    local chunk_end = math.min(first + CHUNK - 1, last)
    redis.call(command, key, unpack(values, first, chunk_end))
    first = chunk_end + 1
  end
end

-- Writes documents. args from `at` has for each of the keys from FIRST_DOCUMENT on one packed list (MessagePack) of what is
-- set, fields and values in turn; then, in pairs, the index of a key and a packed list of its fields to delete.
--
-- Redis makes a string of each argument, puts it into a table, and hashes every byte of it for Lua: one list for each document
-- takes 8 % fewer of Redis' instructions than an argument for each value with their counts in between.
local function write_documents(keys, args, at)
  local call, unpacked = redis.call, cmsgpack.unpack
  -- One call for all of them: those already known cost next to nothing and aren't replicated.
  call_in_chunks('SADD', keys[DOCUMENTS], keys, FIRST_DOCUMENT, #keys)
  for k = FIRST_DOCUMENT, #keys do
    local set = args[at]
    at = at + 1
    if set ~= '' then
      call('HSET', keys[k], unpacked(set))
    end
  end
  while args[at] do
    local key = keys[tonumber(args[at])]
    call('HDEL', key, unpacked(args[at + 1]))
    at = at + 2
    if call('EXISTS', key) == 0 then
      call('SREM', keys[DOCUMENTS], key)
    end
  end
end

-- Answers all of `meta`.
local function state(keys, args)
  local _, refusal = head(keys, args)
  return refusal or { 'ok', redis.call('HGETALL', keys[META]) }
end

-- ARGV: application, owner, token. Answers `meta` with the new epoch and owners and, in `earlier_token`, the token
-- before. The same token again is the same acquisition (its answer was lost): nothing is incremented.
local function acquire(keys, args)
  local meta, owner, token = keys[META], args[2], args[3]
  local found, refusal = head(keys, args)
  if not found then
    return refusal
  end
  if found.token ~= token then
    redis.call('HINCRBY', meta, 'epoch', 1)
    redis.call('HSET', meta, 'format', FORMAT, 'application', args[1], 'token', token, 'earlier_token', found.token)
  end
  redis.call('HSET', meta, 'owner:' .. owner, '1')
  local answer = redis.call('HGETALL', meta)
  -- The worker that released the ledger under this id may have an open transaction under it again.
  if redis.call('HGET', meta, 'release_id') == owner then
    redis.call('HDEL', meta, 'release_id', 'release_token')
  end
  return { 'ok', answer }
end

-- ARGV: application, epoch, token, owners..
local function forget_owners(keys, args)
  local found, refusal = held(keys, args)
  if not found then
    return refusal
  end
  for i = 4, #args do
    redis.call('HDEL', keys[META], 'owner:' .. args[i])
  end
  return { 'ok' }
end

-- ARGV: application, epoch, token, transactional.id, token in the metadata committed last.
local function release(keys, args)
  local found, refusal = held(keys, args)
  if not found then
    return refusal
  end
  redis.call('HDEL', keys[META], 'owner:' .. args[4])
  redis.call('HSET', keys[META], 'release_id', args[4], 'release_token', args[5])
  return { 'ok' }
end

-- ARGV: application, epoch, token, expected applied offset, applied offset, sequence, lineage, outbox entry, number of entries to
-- trim, their offsets.., documents as in write_documents.
local function commit(keys, args)
  local found, refusal = held(keys, args)
  if not found then
    return refusal
  end
  -- Half a rebuild under the caller's token: he has seen the whole, on a master whose last writes are lost.
  if found.rebuilding or found.applied ~= args[4] then
    return { 'behind', found.applied }
  end
  local trim = tonumber(args[9])
  write_documents(keys, args, 10 + trim)
  redis.call('HSET', keys[OUTBOX], args[5], args[8])
  call_in_chunks('HDEL', keys[OUTBOX], args, 10, 9 + trim)
  redis.call('HSET', keys[META], 'applied', args[5], 'sequence', args[6], 'lineage', args[7])
  return { 'ok' }
end

-- ARGV: application, epoch, token, expected applied offset, fresh token, '1' to keep the documents. Unless they are kept,
-- KEYS has all documents (the caller read the set before): {'documents'} if these aren't the ones there are.
local function rebuild_begin(keys, args)
  local found, refusal = held(keys, args)
  if not found then
    return refusal
  end
  if found.applied ~= args[4] then
    return { 'behind', found.applied }
  end
  if args[6] == '1' then
    if found.rebuilding then
      return { 'refused', 'an earlier rebuild was not finished: its documents cannot be kept' }
    end
  else
    if redis.call('SCARD', keys[DOCUMENTS]) ~= #keys - FIRST_DOCUMENT + 1 then
      return { 'documents' }
    end
    for k = FIRST_DOCUMENT, #keys do
      if redis.call('SISMEMBER', keys[DOCUMENTS], keys[k]) == 0 then
        return { 'documents' }
      end
    end
    call_in_chunks('UNLINK', keys[DOCUMENTS], keys, FIRST_DOCUMENT, #keys)
    redis.call('UNLINK', keys[DOCUMENTS])
  end
  redis.call('UNLINK', keys[OUTBOX])
  redis.call('HSET', keys[META], 'token', args[5], 'rebuilding', '0')
  return { 'ok' }
end

-- Was a rebuild begun, and are all of its writes there that the caller (args[4]) says were made? Another master may have taken
-- over that lacks one.
local function rebuilding(keys, args)
  local found, refusal = held(keys, args)
  if found and not found.rebuilding then
    return nil, { 'refused', 'no rebuild was begun' }
  end
  if found and found.rebuilding ~= args[4] then
    return nil, { 'behind', found.applied }
  end
  return found, refusal
end

-- ARGV: application, epoch, token, writes before, documents as in write_documents.
local function rebuild_write(keys, args)
  local found, refusal = rebuilding(keys, args)
  if not found then
    return refusal
  end
  write_documents(keys, args, 5)
  redis.call('HINCRBY', keys[META], 'rebuilding', 1)
  return { 'ok' }
end

-- ARGV: application, epoch, token, writes before, applied offset, sequence, lineage.
local function rebuild_finish(keys, args)
  local found, refusal = rebuilding(keys, args)
  if not found then
    return refusal
  end
  if args[5] == '' then
    redis.call('HDEL', keys[META], 'applied')
  else
    redis.call('HSET', keys[META], 'applied', args[5])
  end
  redis.call('HSET', keys[META], 'sequence', args[6], 'lineage', args[7])
  redis.call('HDEL', keys[META], 'rebuilding')
  return { 'ok' }
end

local function register(name, callback, flags)
  redis.register_function({ function_name = 'interlock_ledger_5_' .. name, callback = callback, flags = flags })
end

-- Redis asks for the user's right at each call, so a user who lacks one would leave half of a batch: all are looked at first.
local function register_writing(name, callback, flags)
  register(name, function(keys, args)
    for _, command in ipairs(RIGHTS) do
      if not redis.acl_check_cmd(command, keys[META]) then
        return { 'refused', 'the user may not call ' .. command .. ' on ' .. keys[META] ..
          '; docs/operating.md lists the rights that are needed' }
      end
    end
    return callback(keys, args)
  end, flags)
end

register('state', state, { 'allow-oom' })
register_writing('acquire', acquire, { 'allow-oom' })
register_writing('forget_owners', forget_owners, { 'allow-oom' })
register_writing('release', release, { 'allow-oom' })
register_writing('commit', commit, {})
register_writing('rebuild_begin', rebuild_begin, { 'allow-oom' })
register_writing('rebuild_write', rebuild_write, {})
register_writing('rebuild_finish', rebuild_finish, { 'allow-oom' })
