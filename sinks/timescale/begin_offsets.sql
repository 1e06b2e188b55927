-- Positions that were never stored begin where the caller says: $1 task, arrays $2 topic, $3 partition, $4 offset.
INSERT INTO sink_offsets (task, topic, partition, next_offset)
SELECT $1, initial.* FROM UNNEST($2::text[], $3::integer[], $4::bigint[]) AS initial
ON CONFLICT (task, topic, partition) DO NOTHING
