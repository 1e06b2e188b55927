-- The tokens that hold tasks, array $1; nobody can take one from here to the end of the transaction. In one order for
-- all writers, so that none waits for another in a circle.
SELECT task, token FROM sink_tasks WHERE task = ANY($1::text[]) ORDER BY task FOR UPDATE
