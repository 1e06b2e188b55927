//! Converts the timetable's times of day to instants.
//!
//! A train's times count seconds "from noon minus twelve hours" of its service day in the train's time zone, as GTFS
//! defines it: on a day when the clocks change that isn't midnight, and times stay true where "midnight plus" would be
//! an hour off. The opening of a sale is wall time.

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Tz;
use interlock_schemas::{Date, TimestampMs};

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// Returns the instant from which a date's times of day count: noon minus twelve hours.
///
/// This is defined for every date: if the calendar or the zone's rules have no such noon, UTC applies.
pub(crate) fn start_of_day(zone: Tz, date: Date) -> TimestampMs {
    let noon = calendar_date(date).and_then(|day| noon_in(zone, day));
    noon.unwrap_or(i64::from(date) * DAY_MS + DAY_MS / 2) - DAY_MS / 2
}

/// Returns the instant at which the clocks show this many seconds after midnight of a date, or of a later one if they
/// are more than a day. If the clocks show the time twice, this is the first; if they skip it, an hour later.
pub(crate) fn instant_of(zone: Tz, date: Date, seconds: i32) -> TimestampMs {
    let wall = i64::from(date) * DAY_MS + i64::from(seconds) * 1_000;
    let in_zone = |wall: TimestampMs| {
        let wall = DateTime::from_timestamp_millis(wall)?.naive_utc();
        zone.from_local_datetime(&wall).earliest()
    };
    let instant = in_zone(wall).or_else(|| in_zone(wall + HOUR_MS));
    instant.map_or(wall, |instant| instant.timestamp_millis())
}

/// Formats an instant as the train's clocks show it, for messages.
pub(crate) fn wall_time(zone: Tz, instant: TimestampMs) -> String {
    match DateTime::from_timestamp_millis(instant) {
        Some(time) => format!("{} {}", time.with_timezone(&zone).format("%Y-%m-%d %H:%M"), zone.name()),
        None => format!("{instant} ms since 1970"),
    }
}

fn calendar_date(date: Date) -> Option<NaiveDate> {
    let epoch = NaiveDate::default();
    let days = Days::new(u64::from(date.unsigned_abs()));
    if date < 0 {
        epoch.checked_sub_days(days)
    } else {
        epoch.checked_add_days(days)
    }
}

fn noon_in(zone: Tz, day: NaiveDate) -> Option<TimestampMs> {
    let noon = NaiveDateTime::new(day, NaiveTime::from_hms_opt(12, 0, 0)?);
    match zone.from_local_datetime(&noon) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Some(time.timestamp_millis()),
        LocalResult::None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse::<NaiveDate>()
            .unwrap()
            .signed_duration_since(NaiveDate::default())
            .num_days() as Date
    }

    fn utc(text: &str) -> TimestampMs {
        text.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_millis()
    }

    #[test]
    fn india_has_no_summer_time() {
        assert_eq!(
            start_of_day(Tz::Asia__Kolkata, day("2026-12-01")),
            utc("2026-11-30T18:30:00Z")
        );
    }

    #[test]
    fn when_the_clocks_change_times_after_noon_stay_true() {
        assert_eq!(
            start_of_day(Tz::Europe__Warsaw, day("2026-03-29")),
            utc("2026-03-28T22:00:00Z")
        );
        assert_eq!(
            start_of_day(Tz::Europe__Warsaw, day("2026-10-25")),
            utc("2026-10-24T23:00:00Z")
        );
    }

    #[test]
    fn a_sale_opens_by_the_clocks() {
        let opens = |date, seconds| instant_of(Tz::Europe__Berlin, day(date), seconds);
        assert_eq!(opens("2027-03-28", 0), utc("2027-03-27T23:00:00Z"));
        assert_eq!(opens("2027-10-31", 0), utc("2027-10-30T22:00:00Z"));
        assert_eq!(opens("2027-03-28", 8 * 3_600), utc("2027-03-28T06:00:00Z"));
        assert_eq!(
            opens("2027-03-28", 9_000),
            utc("2027-03-28T01:30:00Z"),
            "02:30 is skipped"
        );
        assert_eq!(
            opens("2027-10-31", 9_000),
            utc("2027-10-31T00:30:00Z"),
            "02:30 comes twice"
        );
        assert_eq!(opens("2027-03-27", 86_400), utc("2027-03-27T23:00:00Z"));
    }

    #[test]
    fn every_date_has_a_start() {
        for date in [Date::MIN, Date::MAX] {
            assert_eq!(start_of_day(Tz::Europe__Warsaw, date), i64::from(date) * DAY_MS);
        }
    }
}
