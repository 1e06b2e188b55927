-- The tables that the window queries are merged into. A table's primary key is exactly its query's keys (ON CONFLICT
-- needs that), its other columns are the measures. Minutes are event time in UTC; money is in minor units of its
-- currency; distances are metres. What each measure counts is written in topologies/*.sql, which compute them.
--
-- Which of them become hypertables is in hypertables.sql. Names have no schema: they go where search_path says.

CREATE TABLE occupancy_minute (
    minute           timestamptz NOT NULL,
    train_id         text        NOT NULL,
    travel_date      date        NOT NULL,
    travel_class     text        NOT NULL,
    quota            text        NOT NULL,
    confirmed        bigint      NOT NULL, -- passengers who got a seat as the answer to their request
    promoted         bigint      NOT NULL, -- passengers who got a seat from the waitlist
    released         bigint      NOT NULL, -- passengers who gave a seat back
    waitlisted       bigint      NOT NULL, -- passengers who began to wait
    waitlist_left    bigint      NOT NULL, -- passengers who cancelled while they waited
    seats_sold       bigint      NOT NULL, -- net: confirmed + promoted − released
    seat_metres_sold bigint      NOT NULL, -- net, each passenger times the length of the trip
    PRIMARY KEY (train_id, travel_date, travel_class, quota, minute)
);

CREATE TABLE rejections_minute (
    minute       timestamptz NOT NULL,
    train_id     text        NOT NULL,
    travel_date  date        NOT NULL,
    travel_class text        NOT NULL, -- empty where the request is about no class
    code         text        NOT NULL, -- such as WAITLIST_FULL
    rejected     bigint      NOT NULL, -- passengers
    requests     bigint      NOT NULL,
    PRIMARY KEY (train_id, travel_date, travel_class, code, minute)
);

CREATE TABLE revenue_minute (
    minute          timestamptz NOT NULL,
    train_id        text        NOT NULL,
    travel_date     date        NOT NULL,
    travel_class    text        NOT NULL,
    quota           text        NOT NULL,
    currency        text        NOT NULL, -- ISO 4217
    collected_minor bigint      NOT NULL,
    refunded_minor  bigint      NOT NULL, -- positive
    bookings        bigint      NOT NULL, -- accepted, whether confirmed or waitlisted
    passengers      bigint      NOT NULL, -- of those bookings
    PRIMARY KEY (train_id, travel_date, travel_class, quota, currency, minute)
);

CREATE TABLE capacity (
    train_id            text        NOT NULL,
    travel_date         date        NOT NULL,
    travel_class        text        NOT NULL,
    seats               bigint,
    seat_metres_offered bigint, -- seats times the length of the route
    departure_time      timestamptz, -- at the origin
    PRIMARY KEY (train_id, travel_date, travel_class)
);

-- Who may write for a task: each acquisition stores a fresh token, each write compares it.
CREATE TABLE sink_tasks (
    task  text PRIMARY KEY,
    token text NOT NULL
);

-- Up to where each task's input is in the tables above, in the same transaction as the rows.
CREATE TABLE sink_offsets (
    task        text    NOT NULL REFERENCES sink_tasks,
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    PRIMARY KEY (task, topic, partition)
);
