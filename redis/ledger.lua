#!lua name=interlock_ledger_6

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
-- KEYS: meta, then (where documents are written) the log, the documents themselves.
-- A document of more fields than one command takes is there more than once.
-- ARGV: application, then (where the ledger must be held) epoch and token, then (where the write counts) the version, then
-- what the function needs.
-- Answers: {'ok', ..}, {'fenced', epoch, token}, {'behind', version, '1' while rebuilding}, {'application', name},
-- {'format', version}, {'refused', reason}; '' stands for none.

local FORMAT = '2'

-- How many values unpack() may put on Lua's stack (limit: 8,000).
local CHUNK = 7000

-- All commands that the functions call, and those used for reading: a missing right is reported before anything is
-- written.
local RIGHTS = {
  'HDEL', 'HGET', 'HGETALL', 'HINCRBY', 'HKEYS', 'HLEN', 'HMGET', 'HSET', 'PERSIST', 'SCAN', 'UNLINK',
}

-- The fields of `meta` that a look at the ledger needs; the owners and the index may be many.
local PROGRESS = {
  'epoch', 'token', 'version', 'applied', 'sequence', 'lineage', 'floor', 'chain', 'rebuilding',
}

local META, LOG, FIRST_DOCUMENT = 1, 2, 3

-- Is the ledger one of this application's, in a format known here? Returns its head, or nil and the refusal.
local function head(keys, args)
  local found = redis.call('HMGET', keys[META],
    'format', 'application', 'epoch', 'token', 'version', 'rebuilding')
  if found[1] and found[1] ~= FORMAT then
    return nil, { 'format', found[1] }
  end
  if found[2] and found[2] ~= args[1] then
    return nil, { 'application', found[2] }
  end
  return {
    epoch = found[3] or '0',
    token = found[4] or '',
    -- How many writes the holder has made under its token.
    version = found[5] or '0',
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

-- The refusal of a write that is decided from another state than the ledger's.
local function behind(found)
  return { 'behind', found.version, found.rebuilding and '1' or '' }
end

-- Does the caller (args[4]) know of every write under its token? Another master may have taken over that lacks one, or `meta`
-- was put back.
local function versioned(keys, args)
  local found, refusal = held(keys, args)
  if found and found.version ~= args[4] then
    return nil, behind(found)
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

-- The field of the index for the document with this key: `d:` and its name.
local function index_field(keys, key)
  return string.sub(key, #keys[META] - 3)
end

-- Writes documents, and their heads into the index. args from `at` has for each of the keys from FIRST_DOCUMENT on: 'n' where
-- the index does not name the document yet, so that what is found in its place goes; where the document comes last, its
-- head for the index; and one packed list (MessagePack) of what is set, fields and values in turn. Then, in pairs, the
-- index of a key and a packed list of its fields to delete.
--
-- Redis makes a string of each argument, puts it into a table, and hashes every byte of it for Lua: one list for each document
-- takes 8 % fewer of Redis' instructions than an argument for each value with their counts in between.
local function write_documents(keys, args, number, at)
  local call, unpacked = redis.call, cmsgpack.unpack
  local index = {}
  for k = FIRST_DOCUMENT, #keys do
    local key, is_new, to, set = keys[k], args[at], args[at + 1], args[at + 2]
    at = at + 3
    if is_new ~= '' then
      call('UNLINK', key)
    end
    if set ~= '' then
      call('HSET', key, unpacked(set))
    end
    if to ~= '' then
      -- Redis adds: a write onto another document than the one that the index names leaves another sum.
      call('HINCRBY', key, 'n', number)
      index[#index + 1] = index_field(keys, key)
      index[#index + 1] = to
    end
  end
  while args[at] do
    call('HDEL', keys[tonumber(args[at])], unpacked(args[at + 1]))
    at = at + 2
  end
  call_in_chunks('HSET', keys[META], index, 1, #index)
end

-- Answers all of `meta`.
local function state(keys, args)
  local _, refusal = head(keys, args)
  return refusal or { 'ok', redis.call('HGETALL', keys[META]) }
end

-- Answers the fields of `meta` that a look needs.
local function look(keys, args)
  local _, refusal = head(keys, args)
  if refusal then
    return refusal
  end
  local answer = {}
  for i, value in ipairs(redis.call('HMGET', keys[META], unpack(PROGRESS))) do
    if value then
      answer[#answer + 1] = PROGRESS[i]
      answer[#answer + 1] = value
    end
  end
  return { 'ok', answer }
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
    redis.call('HSET', meta, 'format', FORMAT, 'application', args[1], 'token', token, 'earlier_token', found.token,
      'version', '0')
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

-- ARGV: application, epoch, token, version, applied offset, sequence, lineage, log entry, its digest, number to add to the sums,
-- number of entries to trim, their offsets.., documents as in write_documents.
local function commit(keys, args)
  local found, refusal = versioned(keys, args)
  if not found then
    return refusal
  end
  -- Half a rebuild under the caller's token: he has seen the whole, on a master whose last writes are lost.
  if found.rebuilding then
    return behind(found)
  end
  local trim = tonumber(args[11])
  write_documents(keys, args, args[10], 12 + trim)
  redis.call('HSET', keys[LOG], args[5], args[8])
  redis.call('HSET', keys[META], 'applied', args[5], 'sequence', args[6], 'lineage', args[7], 'chain', args[9])
  if trim > 0 then
    call_in_chunks('HDEL', keys[LOG], args, 12, 11 + trim)
    redis.call('HSET', keys[META], 'floor', args[11 + trim])
  end
  redis.call('HINCRBY', keys[META], 'version', 1)
  return { 'ok' }
end

-- ARGV: application, epoch, token, version.
local function rebuild_demand(keys, args)
  local found, refusal = versioned(keys, args)
  if not found then
    return refusal
  end
  redis.call('HSET', keys[META], 'rebuilding', '1')
  redis.call('HINCRBY', keys[META], 'version', 1)
  return { 'ok' }
end

-- ARGV: application, epoch, token, version, fresh token, '1' to keep the documents. Unless they are kept, KEYS has all documents
-- that there are, in the index or not.
local function rebuild_begin(keys, args)
  local found, refusal = versioned(keys, args)
  if not found then
    return refusal
  end
  if args[6] == '1' then
    if found.rebuilding then
      return { 'refused', 'an earlier rebuild was not finished: its documents cannot be kept' }
    end
  else
    for k = FIRST_DOCUMENT, #keys do
      redis.call('UNLINK', keys[k])
    end
    local index = {}
    for _, field in ipairs(redis.call('HKEYS', keys[META])) do
      if string.sub(field, 1, 2) == 'd:' then
        index[#index + 1] = field
      end
    end
    call_in_chunks('HDEL', keys[META], index, 1, #index)
  end
  redis.call('UNLINK', keys[LOG])
  redis.call('HSET', keys[META], 'token', args[5], 'version', '0', 'rebuilding', '1')
  return { 'ok' }
end

-- Was a rebuild begun, and are all of its writes there that the caller says were made?
local function rebuilding(keys, args)
  local found, refusal = held(keys, args)
  if found and not found.rebuilding then
    return nil, { 'refused', 'no rebuild was begun' }
  end
  if found and found.version ~= args[4] then
    return nil, behind(found)
  end
  return found, refusal
end

-- ARGV: application, epoch, token, version, number to add to the sums, documents as in write_documents.
local function rebuild_write(keys, args)
  local found, refusal = rebuilding(keys, args)
  if not found then
    return refusal
  end
  write_documents(keys, args, args[5], 6)
  redis.call('HINCRBY', keys[META], 'version', 1)
  return { 'ok' }
end

-- ARGV: application, epoch, token, version, applied offset, sequence, lineage.
local function rebuild_finish(keys, args)
  local found, refusal = rebuilding(keys, args)
  if not found then
    return refusal
  end
  if args[5] == '' then
    redis.call('HDEL', keys[META], 'applied', 'floor')
  else
    redis.call('HSET', keys[META], 'applied', args[5], 'floor', args[5])
  end
  redis.call('HSET', keys[META], 'sequence', args[6], 'lineage', args[7])
  redis.call('HDEL', keys[META], 'rebuilding', 'chain')
  redis.call('HINCRBY', keys[META], 'version', 1)
  return { 'ok' }
end

-- ARGV: application. KEYS: meta, then every other key of the ledger. Where an earlier version of the program wrote the ledger,
-- only what the comparison with Kafka needs is kept, and a rebuild is demanded.
local function renew(keys, args)
  local found = redis.call('HMGET', keys[META], 'format', 'application')
  if not found[1] or found[1] == FORMAT then
    return { 'ok' }
  end
  if found[2] ~= args[1] then
    return { 'application', found[2] or '' }
  end
  for k = META + 1, #keys do
    redis.call('UNLINK', keys[k])
  end
  redis.call('HSET', keys[META], 'format', FORMAT, 'version', '0', 'rebuilding', '1')
  return { 'ok' }
end

local function register(name, callback, flags)
  redis.register_function({ function_name = 'interlock_ledger_6_' .. name, callback = callback, flags = flags })
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
register('look', look, { 'allow-oom' })
register_writing('acquire', acquire, { 'allow-oom' })
register_writing('forget_owners', forget_owners, { 'allow-oom' })
register_writing('release', release, { 'allow-oom' })
register_writing('commit', commit, {})
register_writing('rebuild_demand', rebuild_demand, { 'allow-oom' })
register_writing('rebuild_begin', rebuild_begin, { 'allow-oom' })
register_writing('rebuild_write', rebuild_write, {})
register_writing('rebuild_finish', rebuild_finish, { 'allow-oom' })
register_writing('renew', renew, { 'allow-oom' })
