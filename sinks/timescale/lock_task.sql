-- The token that holds a task, $1; nobody can take it from here to the end of the transaction.
SELECT token FROM sink_tasks WHERE task = $1 FOR UPDATE
