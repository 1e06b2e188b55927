-- Advances positions that are where the write begins: arrays $1 task, $2 topic, $3 partition, $4 from, $5 to. The
-- number of rows updated tells whether all were.
UPDATE sink_offsets AS stored
SET next_offset = advance.upto
FROM UNNEST($1::text[], $2::text[], $3::integer[], $4::bigint[], $5::bigint[])
    AS advance (task, topic, partition, since, upto)
WHERE stored.task = advance.task
  AND stored.topic = advance.topic
  AND stored.partition = advance.partition
  AND stored.next_offset = advance.since
