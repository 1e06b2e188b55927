-- The seats that a train-date offers in each class, by the plan that it was opened with: the denominator of the load
-- factor.
SELECT
    train_id,
    travel_date,
    travel_class,
    MAX(seats)            AS seats,
    MAX(seats * length_m) AS seat_metres_offered,
    MAX(departure_time)   AS departure_time
FROM input
WHERE NOT replay
  AND event = 'opened'
GROUP BY train_id, travel_date, travel_class
