//! Ids of trains and codes of stations stay the same from one version of a feed to the next.

use super::*;

const TIMES: &str = "trip_id,arrival_time,departure_time,stop_id,stop_sequence\n";

/// Returns each train with the names of its stops, by id.
fn trains(files: &[(&str, &str)]) -> Vec<(String, Vec<(String, String)>)> {
    let stops = |train: &TrainService| {
        let stops = train.route.iter();
        stops
            .map(|stop| (stop.code.to_string(), stop.name.to_string()))
            .collect()
    };
    let seed = seed_of(files).unwrap();
    seed.trains
        .iter()
        .map(|train| (train.train_id.to_string(), stops(train)))
        .collect()
}

#[test]
fn codes_depend_on_the_id_alone_and_not_on_the_order_of_rows() {
    let stops = ["東京,Tokyo,50.0,10.0\n", "大阪,Osaka,50.1,10.0\n", "1,One,50.2,10.0\n"];
    let trips = ["R,W,特急\n", "R,W,急行\n"];
    let times = format!(
        "{TIMES}特急,08:00:00,08:00:00,東京,1\n特急,08:30:00,08:30:00,大阪,2\n\
         急行,09:00:00,09:00:00,大阪,1\n急行,09:30:00,09:30:00,1,2\n"
    );
    let version = |stops: &str, trips: &str| {
        let stops = format!("stop_id,stop_name,stop_lat,stop_lon\n{stops}");
        let trips = format!("route_id,service_id,trip_id\n{trips}");
        trains(&[("stops.txt", &stops), ("trips.txt", &trips), ("stop_times.txt", &times)])
    };
    let first = version(&stops.concat(), &trips.concat());
    let reversed: Vec<_> = stops.iter().rev().copied().collect();
    assert_eq!(first, version(&reversed.concat(), &[trips[1], trips[0]].concat()));
    assert_eq!(first.len(), 2);
    assert!(
        first
            .iter()
            .any(|(_, stops)| stops[1] == ("1".to_owned(), "One".to_owned()))
    );
}

#[test]
fn one_number_on_different_dates_is_one_train() {
    let calendar = "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date\n\
                    W,1,1,1,1,1,0,0,20261101,20261209\nE,1,1,1,1,1,0,0,20261210,20261231\n";
    let trips = "route_id,service_id,trip_id,trip_short_name\nR,W,t1,N1\nR,E,t2,N1\n";
    let times = format!(
        "{TIMES}t1,08:00:00,08:00:00,A,1\nt1,08:30:00,08:30:00,B,2\nt2,08:00:00,08:00:00,A,1\nt2,08:30:00,08:30:00,B,2\n"
    );
    let files = [
        ("calendar.txt", calendar),
        ("trips.txt", trips),
        ("stop_times.txt", &times),
    ];
    let seed = seed_of(&files).unwrap();
    assert_eq!(seed.trains.len(), 1);
    assert_eq!(
        (seed.trains[0].train_id.as_str(), seed.trains[0].running_dates.len()),
        ("N1", 22)
    );
}

/// A feed whose train N1 runs at 8:00 until 9 December and at 8:05 from then on, to another station.
fn two_seasons() -> [(&'static str, String); 3] {
    let calendar = "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date\n\
                    W,1,1,1,1,1,0,0,20261101,20261209\nE,1,1,1,1,1,0,0,20261210,20261231\n";
    let trips = "route_id,service_id,trip_id,trip_short_name\nR,E,t2,N1\nR,W,t1,N1\n";
    let times = format!(
        "{TIMES}t1,08:00:00,08:00:00,A,1\nt1,08:30:00,08:30:00,B,2\nt2,08:05:00,08:05:00,A,1\nt2,08:40:00,08:40:00,C,2\n"
    );
    [
        ("calendar.txt", calendar.to_owned()),
        ("trips.txt", trips.to_owned()),
        ("stop_times.txt", times),
    ]
}

#[test]
fn a_number_with_a_timetable_for_each_season_is_one_train() {
    let files = two_seasons();
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let seed = seed_of(&files).unwrap();
    assert_eq!(seed.trains.len(), 1, "{:?}", seed.notes);
    let train = &seed.trains[0];
    let timetables = train.timetables().map(|(dates, route)| {
        let stops = route.iter().map(|stop| (stop.code.as_str(), stop.departure_s / 60));
        ((dates[0] - FROM, dates.len()), stops.collect::<Vec<_>>())
    });
    assert_eq!(
        (train.train_id.as_str(), timetables.collect::<Vec<_>>()),
        (
            "N1",
            vec![
                ((0, 7), vec![("A", 480), ("B", 510)]),
                ((9, 15), vec![("A", 485), ("C", 520)]),
            ]
        )
    );
    let summary = seed.summary();
    assert_eq!((summary.trains, summary.train_dates, summary.stations), (1, 22, 3));
    let notes = summary.notes.join("\n");
    assert!(
        notes.contains("several timetables, each on dates of its own: 1 (N1)"),
        "{notes}"
    );
}

#[test]
fn a_number_that_names_two_trains_on_one_date_is_given_up() {
    let trips = "route_id,service_id,trip_id,trip_short_name\nR,W,t1,N1\nR,W,t2,N1\nR,W,t3,N2\n";
    let times = format!(
        "{TIMES}t1,08:00:00,08:00:00,A,1\nt1,08:30:00,08:30:00,B,2\nt2,09:00:00,09:00:00,A,1\nt2,09:30:00,09:30:00,B,2\n\
         t3,10:00:00,10:00:00,A,1\nt3,10:30:00,10:30:00,B,2\n"
    );
    let seed = seed_of(&[("trips.txt", trips), ("stop_times.txt", &times)]).unwrap();
    let ids: Vec<_> = seed.trains.iter().map(|train| train.train_id.as_str()).collect();
    assert_eq!(ids, ["N2", "t1", "t2"]);
    let notes = seed.notes.join("\n");
    assert!(notes.contains("these trains go by their trip_id: 1 (N1)"), "{notes}");
}

#[test]
fn the_feed_goes_by_its_publisher_or_else_by_its_agency() {
    assert_eq!(seed_of(&[]).unwrap().feed, "Rail");
    let info = "feed_publisher_name,feed_lang\nThe Ministry,en\n";
    assert_eq!(seed_of(&[("feed_info.txt", info)]).unwrap().feed, "The Ministry");
}

#[test]
fn a_train_of_the_feed_that_is_not_sold_is_idle_and_not_gone() {
    let trips = "route_id,service_id,trip_id\nR,W,t1\nR,never,t2\nR,W,t3\n";
    let times = format!(
        "{TIMES}t1,08:00:00,08:00:00,A,1\nt1,08:30:00,08:30:00,B,2\nt2,08:00:00,08:00:00,A,1\nt2,08:30:00,08:30:00,B,2\nt3,noon,noon,A,1\n"
    );
    let seed = seed_of(&[("trips.txt", trips), ("stop_times.txt", &times)]).unwrap();
    let idle: Vec<_> = seed.idle.iter().map(String::as_str).collect();
    assert_eq!(idle, ["t2", "t3"]);
}
