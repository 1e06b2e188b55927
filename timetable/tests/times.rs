//! Times after midnight, and nights on which the clocks change.

use super::*;

const TIMES: &str = "trip_id,arrival_time,departure_time,stop_id,stop_sequence\n\
                     t1,25:30:00,25:30:00,A,1\nt1,26:00:00,26:00:00,B,2\n";

#[test]
fn a_trip_that_begins_after_midnight_is_dated_by_the_calendar_and_keeps_its_times() {
    let seed = seed_of(&[("stop_times.txt", TIMES)]).unwrap();
    let train = &seed.trains[0];
    assert_eq!((train.route[0].departure_s, train.route[1].arrival_s), (91_800, 93_600));
    assert!(
        train
            .running_dates
            .starts_with(&[FROM, FROM + 1, FROM + 2, FROM + 3, FROM + 4, FROM + 7]),
        "Friday's runs on Saturday"
    );
}

#[test]
fn times_count_from_the_service_day_when_the_clocks_change() {
    let calendar = "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date\n\
                    W,1,1,1,1,1,1,1,20270101,20271231\n";
    let folder = feed(&[("stop_times.txt", TIMES), ("calendar.txt", calendar)]);
    let seed = gtfs(folder.path(), None, &Templates::built_in().unwrap()).unwrap();
    let plan = Plan::compile(seed.trains[0].clone()).unwrap();
    let departure_ms = |date| plan.times_start(date) + i64::from(plan.service().route[0].departure_s) * 1_000;
    let hours = |date: Date| departure_ms(date) as f64 / 3_600_000.0 - f64::from(date) * 24.0;
    let (spring, autumn) = (20_905, 21_122); // 2027-03-28 and 2027-10-31
    assert_eq!(hours(spring), 0.5, "2027-03-28T00:30Z");
    assert_eq!(hours(autumn), -0.5, "2027-10-30T23:30Z");
    assert_eq!(hours(spring - 1), 0.5, "winter time");
    assert_eq!(hours(spring + 1), -0.5, "summer time");
}
