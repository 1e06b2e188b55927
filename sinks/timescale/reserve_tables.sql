-- Marks the tables as those of the groups $1, which have no tasks yet when an application starts for the first time. No
-- task has the name of a mark, as a group's tasks are `group/topic/partition`.
INSERT INTO sink_tasks (task, token)
SELECT known.name || '/', '' FROM UNNEST($1::text[]) AS known (name)
ON CONFLICT (task) DO NOTHING
