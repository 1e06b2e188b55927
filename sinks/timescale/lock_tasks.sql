-- The tokens that hold tasks, array $1; no session can take one from here to the end of the transaction. All writers
-- lock in the same order, so that none waits for another in a circle.
SELECT task, token FROM sink_tasks WHERE task = ANY($1::text[]) ORDER BY task FOR UPDATE
