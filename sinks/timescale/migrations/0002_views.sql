-- What dashboards read, besides the tables. Each view can be filtered by its first columns without computing the rest.

-- How full a train-date's class is: seat-kilometres sold of those offered, so that a seat sold twice on different legs
-- counts for what it carries, and nothing exceeds 100.
CREATE VIEW load_factor AS
SELECT
    train_id,
    travel_date,
    travel_class,
    c.departure_time,
    c.seats,
    coalesce(o.seats_sold, 0)       AS seats_sold, -- passengers with a seat
    coalesce(o.seat_metres_sold, 0) AS seat_metres_sold,
    c.seat_metres_offered,
    round(100.0 * coalesce(o.seat_metres_sold, 0) / nullif(c.seat_metres_offered, 0), 2) AS load_percent
FROM capacity c
LEFT JOIN (
    SELECT
        train_id,
        travel_date,
        travel_class,
        sum(seats_sold)::bigint       AS seats_sold,
        sum(seat_metres_sold)::bigint AS seat_metres_sold
    FROM occupancy_minute
    GROUP BY train_id, travel_date, travel_class
) o USING (train_id, travel_date, travel_class);

-- How many minor units make one unit of a currency (ISO 4217): 100 unless it is listed here.
CREATE FUNCTION minor_units(currency text) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
    CASE
        WHEN currency IN (
            'BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF',
            'XPF'
        ) THEN 1
        WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 1000
        ELSE 100
    END;

-- What a train earns in each class, in units of the currency (not minor ones). Currencies are never added up.
CREATE VIEW revenue_by_train_class AS
SELECT
    train_id,
    travel_class,
    currency,
    trim_scale(sum(collected_minor) / minor_units(currency))            AS gross,
    trim_scale(sum(refunded_minor) / minor_units(currency))             AS refunds,
    trim_scale(sum(collected_minor - refunded_minor) / minor_units(currency)) AS net,
    sum(bookings)::bigint                                               AS bookings,
    sum(passengers)::bigint                                             AS passengers,
    round(sum(collected_minor) / minor_units(currency) / nullif(sum(passengers), 0), 2) AS average_fare -- collected for each passenger accepted
FROM revenue_minute
GROUP BY train_id, travel_class, currency;

-- The same for each train-date.
CREATE VIEW revenue_by_train_date AS
SELECT
    train_id,
    travel_date,
    travel_class,
    currency,
    trim_scale(sum(collected_minor) / minor_units(currency))            AS gross,
    trim_scale(sum(refunded_minor) / minor_units(currency))             AS refunds,
    trim_scale(sum(collected_minor - refunded_minor) / minor_units(currency)) AS net,
    sum(bookings)::bigint                                               AS bookings,
    sum(passengers)::bigint                                             AS passengers,
    round(sum(collected_minor) / minor_units(currency) / nullif(sum(passengers), 0), 2) AS average_fare
FROM revenue_minute
GROUP BY train_id, travel_date, travel_class, currency;

-- How many wait on each list now.
CREATE VIEW waitlist_depth AS
SELECT
    train_id,
    travel_date,
    travel_class,
    quota,
    (sum(waitlisted) - sum(promoted) - sum(waitlist_left))::bigint AS waiting
FROM occupancy_minute
GROUP BY train_id, travel_date, travel_class, quota;

-- The state at the end of each minute in which something happened: seats sold so far, and who waited.
CREATE VIEW selling_pace AS
SELECT
    train_id,
    travel_date,
    travel_class,
    minute,
    (sum(sum(seats_sold)) OVER so_far)::bigint AS seats_sold,
    (sum(sum(seat_metres_sold)) OVER so_far)::bigint AS seat_metres_sold,
    (sum(sum(waitlisted) - sum(promoted) - sum(waitlist_left)) OVER so_far)::bigint AS waiting
FROM occupancy_minute
GROUP BY train_id, travel_date, travel_class, minute
WINDOW so_far AS (PARTITION BY train_id, travel_date, travel_class ORDER BY minute);
