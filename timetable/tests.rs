//! Whole feeds, good and bad.

mod bad_rows;
mod encodings;
mod identities;
mod times;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::*;

/// 2026-12-01.
const FROM: Date = 20_788;
const WINDOW: Window = Window {
    from: FROM,
    days: DAYS_DEFAULT,
};

/// The real timetable of the Warsaw commuter railway, which is not part of the repository.
fn wkd() -> Option<Seed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/gtfs/wkd");
    if !path.is_dir() {
        println!(
            "SKIPPED: no timetable at {}; put the WKD feed there to run this test",
            path.display()
        );
        return None;
    }
    Some(gtfs(&path, Some(WINDOW), &Templates::built_in().unwrap()).unwrap())
}

#[test]
fn the_wkd_timetable_is_projected_onto_the_dates_wanted() {
    let Some(seed) = wkd() else { return };
    let summary = seed.summary();
    println!("{summary}");
    assert_eq!(
        (summary.trains, summary.stations, summary.train_dates),
        (151, 28, 151 * 30)
    );
    assert_eq!(summary.currencies, ["PLN".to_owned()].into());
    let notes = summary.notes.join("\n");
    assert!(
        notes.contains("2024-07-15 to 2024-12-31: 30 dates from 2026-12-01 to 2026-12-30"),
        "{notes}"
    );
    assert!(
        notes.contains("trips left out that are no trains (route type 3): 55"),
        "{notes}"
    );
    let ends = seed.trains.iter().filter_map(|train| train.route.last());
    let longest = ends.max_by_key(|stop| stop.distance_m).unwrap();
    assert!(
        (30_000..36_000).contains(&longest.distance_m),
        "Warsaw to Grodzisk is 33 km by rail, not {} m",
        longest.distance_m
    );
    // Three trains leave after midnight of their service day, and keep its clock.
    assert!(
        notes.contains("trips begin after midnight of their service day, dated by the calendar: 3"),
        "{notes}"
    );
    let departures = || seed.trains.iter().map(|train| train.route[0].departure_s);
    assert!(departures().all(|departure_s| (0..2 * 86_400).contains(&departure_s)));
    assert_eq!(departures().filter(|departure_s| *departure_s >= 86_400).count(), 3);
}

/// Returns a feed in a folder: the given files over those of a small valid one; an empty text leaves a file out.
fn feed(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let small = [
        (
            "agency.txt",
            "agency_name,agency_url,agency_timezone\nRail,http://rail.example,Europe/Berlin\n",
        ),
        (
            "stops.txt",
            "\u{feff}stop_id,stop_name,stop_lat,stop_lon\nA,Aa,50.0,10.0\nB,Bb,50.1,10.0\nC,Cç,,\n",
        ),
        (
            "routes.txt",
            "route_id,route_short_name,route_type\nR,RE1,102\nBUS,X,714\n",
        ),
        ("trips.txt", "route_id,service_id,trip_id\nR,W,t1\nBUS,W,t2\n"),
        (
            "stop_times.txt",
            "trip_id,arrival_time,departure_time,stop_id,stop_sequence\nt1,24:10:00,24:10:00,B,9\nt1,23:50:00,23:50:00,A,3\nt2,08:00:00,08:00:00,A,1\n",
        ),
        (
            "calendar.txt",
            "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date\nW,1,1,1,1,1,0,0,20261101,20261231\n",
        ),
    ];
    for (name, text) in small.iter().chain(files) {
        match text.is_empty() {
            true => std::fs::remove_file(folder.path().join(name)).unwrap(),
            false => std::fs::write(folder.path().join(name), text).unwrap(),
        }
    }
    folder
}

fn seed_of(files: &[(&str, &str)]) -> Result<Seed, SeedError> {
    gtfs(feed(files).path(), Some(WINDOW), &Templates::built_in().unwrap())
}

#[test]
fn a_small_feed_loads_with_byte_order_mark_and_rows_out_of_order() {
    let seed = seed_of(&[]).unwrap();
    assert_eq!(
        seed.trains.len(),
        1,
        "the replacement bus is no train: {:?}",
        seed.notes
    );
    let train = &seed.trains[0];
    assert_eq!(
        (train.train_id.as_str(), train.name.as_str(), train.currency.as_str()),
        ("t1", "RE1 Bb", "EUR")
    );
    assert_eq!(train.route[1].arrival_s, 87_000, "past midnight");
    assert!(
        (11_000..11_300).contains(&train.route[1].distance_m),
        "a tenth of a degree: {}",
        train.route[1].distance_m
    );
    assert_eq!(
        train.running_dates.len(),
        22,
        "the weekdays among 30 days from a Tuesday"
    );
}

#[test]
fn a_feed_without_dates_says_so_and_nothing_of_other_dates() {
    let dates = "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date\n\
                 W,1,1,1,1,1,0,0,2026-11-01,2026-12-31\n";
    let error = seed_of(&[("calendar.txt", dates)]).unwrap_err().to_string();
    assert!(error.contains("start_date is not a date: 1 (line 2:"), "{error}");
    assert!(
        error.contains("the feed has no running dates") && !error.contains("1970"),
        "{error}"
    );
}

#[test]
fn exceptions_alone_make_a_calendar() {
    let dates = "service_id,date,exception_type\nW,20261205,1\nW,20261206,1\nW,20261206,2\n";
    let seed = seed_of(&[("calendar.txt", ""), ("calendar_dates.txt", dates)]).unwrap();
    assert!(seed.trains[0].running_dates.contains(&(FROM + 4)));
    let plain = gtfs(
        feed(&[("calendar.txt", ""), ("calendar_dates.txt", dates)]).path(),
        None,
        &Templates::built_in().unwrap(),
    );
    assert_eq!(plain.unwrap().trains[0].running_dates, [FROM + 4, FROM + 5]);
}

#[test]
fn a_loop_visits_its_station_under_two_codes_and_unknown_places_are_measured_by_time() {
    let times = "trip_id,arrival_time,departure_time,stop_id,stop_sequence\nt1,08:00:00,08:00:00,A,1\nt1,,,C,2\nt1,08:30:00,08:30:00,A,3\n";
    let seed = seed_of(&[("stop_times.txt", times)]).unwrap();
    let codes: Vec<_> = seed.trains[0]
        .route
        .iter()
        .map(|stop| (stop.code.as_str(), stop.distance_m))
        .collect();
    assert_eq!(codes, [("A", 0), ("C", 15_000), ("A.2", 30_000)]);
}

#[test]
fn the_unit_of_shape_distances_is_found_out() {
    let times = "trip_id,arrival_time,departure_time,stop_id,stop_sequence,shape_dist_traveled\nt1,08:00:00,08:00:00,A,1,2.5\nt1,08:30:00,08:30:00,B,2,14.0\n";
    let seed = seed_of(&[("stop_times.txt", times)]).unwrap();
    assert_eq!(seed.trains[0].route[1].distance_m, 11_500, "kilometres");
}

#[test]
fn exact_frequencies_become_trains_and_others_are_skipped() {
    let rows = "trip_id,start_time,end_time,headway_secs,exact_times\nt1,06:00:00,08:00:00,3600,1\nt1,10:00:00,12:00:00,600,0\n";
    let seed = seed_of(&[("frequencies.txt", rows)]).unwrap();
    let runs: Vec<_> = seed
        .trains
        .iter()
        .map(|train| (train.train_id.as_str(), train.route[1].arrival_s))
        .collect();
    assert_eq!(runs, [("t1.0600", 22_800), ("t1.0700", 26_400)]);
    assert!(
        seed.notes
            .iter()
            .any(|note| note.contains("rows of frequencies.txt left out"))
    );
}

#[test]
fn broken_files_that_do_not_matter_are_no_hindrance() {
    let seed = seed_of(&[
        ("fare_attributes.txt", "fare_id,price\nx,free\n"),
        ("feed_info.txt", "?"),
        ("calendar_dates.txt", "\n"),
    ]);
    assert_eq!(seed.unwrap().trains.len(), 1);
}

#[test]
fn errors_say_what_where_and_what_to_do() {
    let message = |files: &[(&str, &str)]| seed_of(files).unwrap_err().to_string();
    assert!(message(&[("trips.txt", "")]).contains("lacks trips.txt"));
    let zone = message(&[(
        "agency.txt",
        "agency_name,agency_url,agency_timezone\nRail,x,Middle/Earth\n",
    )]);
    assert!(zone.contains("Middle/Earth"), "{zone}");
    assert!(message(&[("calendar.txt", "")]).contains("no running dates"));
    let routes = message(&[("routes.txt", "route_id,route_type\nR,3\nBUS,3\n")]);
    assert!(
        routes.contains("trips left out that are no trains (route type 3): 2"),
        "{routes}"
    );
    let trips = message(&[("trips.txt", "route_id,service_id,trip_id\n")]);
    assert!(trips.contains("trips.txt has no rows"), "{trips}");
    let column = message(&[("trips.txt", "route_id,service_id,id\nR,W,t1\n")]);
    assert!(
        column.contains("trips.txt lacks the column trip_id; its first line is `route_id,service_id,id`"),
        "{column}"
    );
    let nowhere = gtfs(Path::new("/no/such/feed"), None, &Templates::built_in().unwrap())
        .unwrap_err()
        .to_string();
    assert!(nowhere.contains("/no/such/feed"), "{nowhere}");
}

#[test]
fn a_zip_file_may_hold_the_feed_in_a_folder_of_its_own() {
    let folder = feed(&[]);
    for inner in ["", "timetable/2026/"] {
        let path = folder.path().join("feed.zip");
        let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        for file in fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|ending| ending == "txt") {
                let name = file.file_name().unwrap().to_str().unwrap();
                zip.start_file(format!("{inner}{name}"), zip::write::SimpleFileOptions::default())
                    .unwrap();
                zip.write_all(&fs::read(&file).unwrap()).unwrap();
            }
        }
        zip.finish().unwrap();
        let seed = gtfs(&path, Some(WINDOW), &Templates::built_in().unwrap()).unwrap();
        assert_eq!(seed.trains.len(), 1, "{inner}");
    }
    let text = folder.path().join("stops.txt");
    let refused = gtfs(&text, None, &Templates::built_in().unwrap())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("neither a folder nor a zip file"), "{refused}");
}

#[test]
fn a_summary_fits_into_80_columns() {
    let names: String = (0..40)
        .map(|number| format!("R,W,a-rather-long-trip-identifier-{number}\n"))
        .collect();
    let trips = format!("route_id,service_id,trip_id\nR,W,t1\n{names}");
    let summary = seed_of(&[("trips.txt", &trips)]).unwrap().summary().to_string();
    assert!(summary.contains("trips left out, they call nowhere: 40"), "{summary}");
    assert!(summary.lines().all(|line| line.chars().count() <= 80), "{summary}");
}

#[test]
fn a_file_that_says_when_trains_run_is_never_passed_over() {
    let folder = feed(&[]);
    std::fs::create_dir(folder.path().join("calendar_dates.txt")).unwrap();
    let refused = gtfs(folder.path(), Some(WINDOW), &Templates::built_in().unwrap());
    let message = refused.unwrap_err().to_string();
    assert!(
        message.contains("calendar_dates.txt") && message.contains("can't be read"),
        "{message}"
    );
}
