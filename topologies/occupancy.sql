-- Places taken, given back and waited for: per minute of event time (UTC), train-date, class and quota.
--
-- Net places are what the measures with a sign give: seats_sold and seat_metres_sold go down with a cancellation, so a
-- sum over all minutes up to some moment is the state at that moment. A waiter who is promoted is `promoted`, not
-- `confirmed`; those who still wait are waitlisted − promoted − waitlist_left.
SELECT
    date_bin(INTERVAL '1 minute', event_time)                                 AS minute,
    train_id,
    travel_date,
    travel_class,
    quota,
    SUM(seated)  FILTER (WHERE event = 'confirmed' AND kind = 'ANSWER')       AS confirmed,
    SUM(seated)  FILTER (WHERE event = 'confirmed' AND kind = 'PROMOTION')    AS promoted,
    SUM(seated)  FILTER (WHERE event = 'cancelled')                           AS released,
    SUM(waiting) FILTER (WHERE event = 'waitlist')                            AS waitlisted,
    SUM(waiting) FILTER (WHERE event = 'cancelled')                           AS waitlist_left,
    SUM(CASE WHEN event = 'cancelled' THEN -seated ELSE seated END)              AS seats_sold,
    SUM(CASE WHEN event = 'cancelled' THEN -seated ELSE seated END * distance_m) AS seat_metres_sold
FROM input
WHERE NOT replay
  AND seated + waiting > 0 -- a list that moves up (POSITION) and a second cancellation concern nobody's place
GROUP BY minute, train_id, travel_date, travel_class, quota
