//! Bad rows: each costs itself, or its trip, is counted and named, and the feed loads.

use super::*;

const STOP_TIMES: &str = "trip_id,arrival_time,departure_time,stop_id,stop_sequence\n";

/// Returns the ids of the trains, and the notes in one text.
fn loaded(files: &[(&str, &str)]) -> (Vec<String>, String) {
    let seed = seed_of(files).unwrap();
    let ids = seed.trains.iter().map(|train| train.train_id.to_string()).collect();
    (ids, seed.notes.join("\n"))
}

#[test]
fn columns_that_are_not_needed_are_not_read() {
    for colour in ["0", "#1C3F94", "aé12b"] {
        let routes = format!(
            "route_id,route_short_name,route_type,route_color,route_text_color,route_sort_order\nR,RE1,102,{colour},{colour},1.5\n"
        );
        let trips = "route_id,service_id,trip_id,direction_id,wheelchair_accessible\nR,W,t1,2,yes\n";
        let (ids, notes) = loaded(&[("routes.txt", &routes), ("trips.txt", trips)]);
        assert_eq!(ids, ["t1"], "{colour}: {notes}");
        assert!(!notes.contains(" is not "), "{colour}: {notes}");
    }
}

#[test]
fn a_bad_row_of_stop_times_costs_its_trip() {
    let trips = "route_id,service_id,trip_id\nR,W,t1\nR,W,t2\nR,W,t3\nR,W,t4\nR,W,t5\n";
    let times = format!(
        "{STOP_TIMES}t1,08:00:00,08:00:00,A,1\nt1,08:30:00,08:30:00,B,2\n\
         t2,8 o'clock,08:00:00,A,1\nt2,08:30:00,08:30:00,B,2\n\
         t3,08:00:00,08:00:00,A,1\nt3,08:30:00,08:30:00,B\n\
         t4,08:00:00,08:00:00,A,1\nt4,08:30:00,08:30:00,X,2\n\
         t5,9999999:00:00,08:00:00,A,1\nt5,08:30:00,08:30:00,B,two\n"
    );
    let (ids, notes) = loaded(&[("trips.txt", trips), ("stop_times.txt", &times)]);
    assert_eq!(ids, ["t1"]);
    for expected in [
        "rows of stop_times.txt left out, arrival_time is not a time: 2 (line 4: `8 o'clock`, line 10: `9999999:00:00`)",
        "rows of stop_times.txt left out, the row ends before stop_sequence: 1 (line 7)",
        "rows of stop_times.txt left out, stop_sequence is not a number: 1 (line 11: `two`)",
        "trips left out, a row of stop_times.txt is bad: 3 (t2, t3, t5)",
        "trips left out, they call at a stop that stops.txt lacks: 1 (t4)",
    ] {
        assert!(notes.contains(expected), "{expected} is not in\n{notes}");
    }
}

#[test]
fn a_bad_date_and_an_empty_weekday_cost_themselves() {
    let calendar = "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date\n\
                    W,1,,1,1,1,0,0,20261101,20261231\nX,1,1,1,1,1,1,1,20261301,20261231\n";
    let dates = "service_id,date,exception_type\nW,2026-12-05,1\nW,20261206,1\nW,20261207,3\n";
    let seed = seed_of(&[("calendar.txt", calendar), ("calendar_dates.txt", dates)]).unwrap();
    let running = &seed.trains[0].running_dates;
    assert!(
        !running.contains(&FROM) && running.contains(&(FROM + 1)),
        "no Tuesday, but a Wednesday"
    );
    assert!(running.contains(&(FROM + 5)), "the added Sunday");
    let notes = seed.notes.join("\n");
    for expected in [
        "weekdays of calendar.txt that are empty, taken as 0: 1 (W)",
        "rows of calendar.txt left out, start_date is not a date: 1 (line 3: `20261301`)",
        "rows of calendar_dates.txt left out, date is not a date: 1 (line 2: `2026-12-05`)",
        "rows of calendar_dates.txt left out, exception_type is not 1 or 2: 1 (line 4: `3`)",
    ] {
        assert!(notes.contains(expected), "{expected} is not in\n{notes}");
    }
}

#[test]
fn both_rows_of_a_service_in_the_calendar_count() {
    let calendar = "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date\n\
                    W,0,1,0,0,0,0,0,20261101,20261231\nW,0,0,1,0,0,0,0,20261101,20261231\n";
    let seed = seed_of(&[("calendar.txt", calendar)]).unwrap();
    assert!(
        seed.trains[0].running_dates.starts_with(&[FROM, FROM + 1, FROM + 7]),
        "Tuesdays and Wednesdays"
    );
}

#[test]
fn a_zone_on_demand_among_stops_is_passed_over() {
    let times = "trip_id,arrival_time,departure_time,stop_id,location_id,start_pickup_drop_off_window,stop_sequence\n\
                 t1,08:00:00,08:00:00,A,,,1\nt1,,,,village,08:05:00,2\nt1,08:30:00,08:30:00,B,,,3\n";
    let (ids, notes) = loaded(&[("stop_times.txt", times)]);
    assert_eq!(ids, ["t1"]);
    assert!(
        notes.contains("calls at zones on demand left out, only stations are sold: 1"),
        "{notes}"
    );
}

#[test]
fn of_a_repeated_id_the_first_row_counts() {
    let stops = "stop_id,stop_name,stop_lat,stop_lon\nA,Aa,50.0,10.0\nB,Bb,50.1,10.0\nB,Far away,54.0,10.0\n";
    let trips = "route_id,service_id,trip_id,trip_headsign\nR,W,t1,there\nR,W,t1,elsewhere\n";
    let seed = seed_of(&[("stops.txt", stops), ("trips.txt", trips)]).unwrap();
    let stop = &seed.trains[0].route[1];
    assert_eq!((stop.name.as_str(), seed.trains[0].name.as_str()), ("Bb", "RE1 there"));
    assert!((11_000..11_300).contains(&stop.distance_m), "{} m", stop.distance_m);
    let notes = seed.notes.join("\n");
    for expected in [
        "rows of stops.txt left out, stop_id comes again and the first counts: 1 (line 4: `B`)",
        "rows of trips.txt left out, trip_id comes again and the first counts: 1 (line 3: `t1`)",
    ] {
        assert!(notes.contains(expected), "{expected} is not in\n{notes}");
    }
}

#[test]
fn units_of_shape_distances_are_judged_trip_by_trip() {
    let trips = "route_id,service_id,trip_id\nR,W,t1\nR,W,t2\nR,W,t3\n";
    let times = "trip_id,arrival_time,departure_time,stop_id,stop_sequence,shape_dist_traveled\n\
                 t1,08:00:00,08:00:00,A,1,0\nt1,08:30:00,08:30:00,B,2,11.5\n\
                 t2,08:00:00,08:00:00,A,1,0\nt2,08:30:00,08:30:00,B,2,11500\n\
                 t3,08:00:00,08:00:00,A,1,0\nt3,08:30:00,08:30:00,B,2,far\n";
    let seed = seed_of(&[("trips.txt", trips), ("stop_times.txt", times)]).unwrap();
    let metres: Vec<i64> = seed.trains.iter().map(|train| train.route[1].distance_m).collect();
    assert_eq!(metres[..2], [11_500, 11_500], "kilometres and metres");
    assert!((11_000..11_300).contains(&metres[2]), "the great circle: {}", metres[2]);
    let notes = seed.notes.join("\n");
    let expected = "values of stop_times.txt taken as empty, shape_dist_traveled is not a distance: 1 (line 7: `far`)";
    assert!(notes.contains(expected), "{notes}");
}

#[test]
fn calls_that_are_repeated_whole_count_once_and_others_cost_the_trip() {
    let trips = "route_id,service_id,trip_id\nR,W,t1\nR,W,t2\n";
    let times = format!(
        "{STOP_TIMES}t1,08:00:00,08:00:00,A,1\nt1,08:30:00,08:30:00,B,2\nt1,08:30:00,08:30:00,B,2\n\
         t2,08:00:00,08:00:00,A,1\nt2,08:30:00,08:30:00,B,2\nt2,08:40:00,08:40:00,C,2\n"
    );
    let (ids, notes) = loaded(&[("trips.txt", trips), ("stop_times.txt", &times)]);
    assert_eq!(ids, ["t1"]);
    assert!(
        notes.contains("trips left out, they have two calls with one stop_sequence: 1 (t2)"),
        "{notes}"
    );
}

#[test]
fn through_coaches_are_noted() {
    let trips = "route_id,service_id,trip_id,block_id\nR,W,t1,b\nR,W,t2,b\nR,W,t3,\n";
    let times = format!(
        "{STOP_TIMES}t1,08:00:00,08:00:00,A,1\nt1,08:30:00,08:30:00,B,2\n\
         t2,09:00:00,09:00:00,A,1\nt2,09:30:00,09:30:00,B,2\nt3,10:00:00,10:00:00,A,1\nt3,10:30:00,10:30:00,B,2\n"
    );
    let transfers = "from_trip_id,to_trip_id,transfer_type\nt2,t3,4\n";
    let files = [
        ("trips.txt", trips),
        ("stop_times.txt", times.as_str()),
        ("transfers.txt", transfers),
    ];
    let (ids, notes) = loaded(&files);
    assert_eq!(ids, ["t1", "t2", "t3"]);
    assert!(
        notes.contains("each is sold as a train of its own: 3 (t1, t2, t3)"),
        "{notes}"
    );
}

#[test]
fn a_train_that_runs_only_at_intervals_is_not_sold_for_its_template() {
    let rows = "trip_id,start_time,end_time,headway_secs,exact_times\nt1,06:00:00,08:00:00,0,1\n";
    let error = seed_of(&[("frequencies.txt", rows)]).unwrap_err().to_string();
    assert!(error.contains("headway_secs is not a number of seconds"), "{error}");
}
