-- All positions of a task: $1.
SELECT topic, partition, next_offset FROM sink_offsets WHERE task = $1 ORDER BY topic, partition
