-- Money in and out, in minor units of its currency: per minute of event time (UTC), train-date, class and quota.
--
-- The fare is collected when a booking is accepted, confirmed or waitlisted (R18); a promotion moves no money. Revenue
-- is collected_minor − refunded_minor. `passengers` are those whom collected_minor paid for.
SELECT
    date_bin(INTERVAL '1 minute', event_time)                AS minute,
    train_id,
    travel_date,
    travel_class,
    quota,
    currency,
    SUM(amount_minor)      FILTER (WHERE amount_minor > 0)   AS collected_minor,
    SUM(-amount_minor)     FILTER (WHERE amount_minor < 0)   AS refunded_minor,
    SUM(bookings)                                            AS bookings,
    SUM(seated + waiting)  FILTER (WHERE event <> 'cancelled' AND kind = 'ANSWER') AS passengers
FROM input
WHERE NOT replay
  AND (amount_minor <> 0 OR (event IN ('confirmed', 'waitlist') AND kind = 'ANSWER'))
GROUP BY minute, train_id, travel_date, travel_class, quota, currency
