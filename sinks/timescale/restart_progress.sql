-- Where the tasks of the groups $1 are.
SELECT task, topic, partition, next_offset FROM sink_offsets
WHERE EXISTS (SELECT FROM UNNEST($1::text[]) AS taken (name) WHERE starts_with(task, taken.name || '/'))
