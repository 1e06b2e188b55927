-- The tables of timescale/migrations/0001_windows.sql, where their columns are explained, and the view of
-- 0002_views.sql that an embedded installation shows. Instants are milliseconds since the Unix epoch, dates are days since
-- then. STRICT, because without it a sum past 64 bits would silently become a float.

CREATE TABLE occupancy_minute (
    minute           INTEGER NOT NULL,
    train_id         TEXT    NOT NULL,
    travel_date      INTEGER NOT NULL,
    travel_class     TEXT    NOT NULL,
    quota            TEXT    NOT NULL,
    confirmed        INTEGER NOT NULL,
    promoted         INTEGER NOT NULL,
    released         INTEGER NOT NULL,
    waitlisted       INTEGER NOT NULL,
    waitlist_left    INTEGER NOT NULL,
    seats_sold       INTEGER NOT NULL,
    seat_metres_sold INTEGER NOT NULL,
    PRIMARY KEY (train_id, travel_date, travel_class, quota, minute)
) STRICT, WITHOUT ROWID;

CREATE TABLE rejections_minute (
    minute       INTEGER NOT NULL,
    train_id     TEXT    NOT NULL,
    travel_date  INTEGER NOT NULL,
    travel_class TEXT    NOT NULL,
    code         TEXT    NOT NULL,
    rejected     INTEGER NOT NULL,
    requests     INTEGER NOT NULL,
    PRIMARY KEY (train_id, travel_date, travel_class, code, minute)
) STRICT, WITHOUT ROWID;

CREATE TABLE revenue_minute (
    minute          INTEGER NOT NULL,
    train_id        TEXT    NOT NULL,
    travel_date     INTEGER NOT NULL,
    travel_class    TEXT    NOT NULL,
    quota           TEXT    NOT NULL,
    currency        TEXT    NOT NULL,
    collected_minor INTEGER NOT NULL,
    refunded_minor  INTEGER NOT NULL,
    bookings        INTEGER NOT NULL,
    passengers      INTEGER NOT NULL,
    PRIMARY KEY (train_id, travel_date, travel_class, quota, currency, minute)
) STRICT, WITHOUT ROWID;

CREATE TABLE capacity (
    train_id            TEXT    NOT NULL,
    travel_date         INTEGER NOT NULL,
    travel_class        TEXT    NOT NULL,
    seats               INTEGER,
    seat_metres_offered INTEGER,
    departure_time      INTEGER,
    PRIMARY KEY (train_id, travel_date, travel_class)
) STRICT, WITHOUT ROWID;

CREATE TABLE sink_tasks (
    task  TEXT NOT NULL PRIMARY KEY,
    token TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sink_offsets (
    task        TEXT    NOT NULL REFERENCES sink_tasks,
    topic       TEXT    NOT NULL,
    partition   INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (task, topic, partition)
) STRICT, WITHOUT ROWID;

-- How full a train-date's class is: seat-kilometres sold of those offered.
CREATE VIEW load_factor AS
SELECT
    c.train_id,
    date(c.travel_date * 86400, 'unixepoch') AS travel_date,
    c.travel_class,
    c.seats,
    coalesce(sum(o.seats_sold), 0)       AS seats_sold, -- passengers with a seat
    coalesce(sum(o.seat_metres_sold), 0) AS seat_metres_sold,
    c.seat_metres_offered,
    round(100.0 * coalesce(sum(o.seat_metres_sold), 0) / nullif(c.seat_metres_offered, 0), 2) AS load_percent
FROM capacity c
LEFT JOIN occupancy_minute o USING (train_id, travel_date, travel_class)
GROUP BY c.train_id, c.travel_date, c.travel_class;
