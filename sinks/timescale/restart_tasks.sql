-- Takes all tasks of the groups $1 under the token $2, so that their holders start over.
UPDATE sink_tasks SET token = $2
WHERE EXISTS (SELECT FROM UNNEST($1::text[]) AS taken (name) WHERE starts_with(task, taken.name || '/'))
