-- Forgets where the tasks of the groups $1 are, and says where they were.
DELETE FROM sink_offsets
WHERE EXISTS (SELECT FROM UNNEST($1::text[]) AS taken (name) WHERE starts_with(task, taken.name || '/'))
RETURNING task, topic, partition, next_offset
