-- A task of none of the groups $1, which writes into this database too.
SELECT task FROM sink_tasks
WHERE NOT EXISTS (SELECT FROM UNNEST($1::text[]) AS known (name) WHERE starts_with(task, known.name || '/'))
LIMIT 1
