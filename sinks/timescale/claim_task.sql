-- Gives the task to the last caller: $1 task, $2 token. Waits for a write that is under way.
INSERT INTO sink_tasks (task, token) VALUES ($1, $2)
ON CONFLICT (task) DO UPDATE SET token = excluded.token
