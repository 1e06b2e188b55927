-- Refused requests by reason: per minute of event time (UTC), train-date and class. A request may name no passengers
-- (that is a reason), so requests are counted beside them.
SELECT
    date_bin(INTERVAL '1 minute', event_time) AS minute,
    train_id,
    travel_date,
    travel_class,
    code,
    SUM(refused)                              AS rejected,
    COUNT(*)                                  AS requests
FROM input
WHERE NOT replay
  AND event = 'rejected'
GROUP BY minute, train_id, travel_date, travel_class, code
