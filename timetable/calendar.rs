//! On which dates a timetable's trains run.
//!
//! A feed speaks for a period only. Dates outside it run as a **reference week**: the seven days in a row, within the
//! period, on which most trains run (so it is no week of holidays); each date as the day of that week with its weekday.
//! That also serves feeds that list dates one by one and have no weekly pattern.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use gtfs_structures::{Calendar, CalendarDate, Exception};
use interlock_schemas::Date;

use super::{DAYS_MAX, SeedError, Window, date_text};

/// Days of a period that are searched for the reference week, from the end that is nearer to the dates wanted.
const SEARCH_DAYS: i32 = 731;

/// The dates on which the services of a feed run.
#[derive(Debug)]
pub(crate) struct Calendars {
    services: HashMap<String, Service>,
    /// First and last date that the feed speaks for.
    period: (Date, Date),
}

#[derive(Debug, Default)]
struct Service {
    weekly: Option<Weekly>,
    added: HashSet<Date>,
    removed: HashSet<Date>,
}

/// Days of the week, Monday first, on which a service runs between two dates.
#[derive(Debug)]
struct Weekly {
    weekdays: [bool; 7],
    first: Date,
    last: Date,
}

/// The dates wanted, and which dates of the feed they run as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Projection {
    window: Window,
    period: (Date, Date),
    /// First day of the reference week, where one is needed.
    week: Option<Date>,
}

impl Calendars {
    /// Joins `calendar.txt` and `calendar_dates.txt`.
    pub(crate) fn new(weekly: Vec<Calendar>, exceptions: &[CalendarDate]) -> Result<Calendars, SeedError> {
        let mut services: HashMap<String, Service> = HashMap::new();
        let mut period: Option<(Date, Date)> = None;
        let mut speaks_for = |first: Date, last: Date| {
            let (earliest, latest) = period.unwrap_or((first, last));
            period = Some((earliest.min(first), latest.max(last)));
        };
        for calendar in weekly {
            let pattern = Weekly::new(&calendar);
            if pattern.first <= pattern.last {
                speaks_for(pattern.first, pattern.last);
                services.entry(calendar.id).or_default().weekly = Some(pattern);
            }
        }
        for exception in exceptions {
            let date = days(exception.date.year(), exception.date.month(), exception.date.day());
            let service = services.entry(exception.service_id.clone()).or_default();
            match exception.exception_type {
                Exception::Added => {
                    speaks_for(date, date);
                    service.added.insert(date);
                }
                Exception::Deleted => {
                    service.removed.insert(date);
                }
            }
        }
        let period = period.ok_or(SeedError::NoCalendar)?;
        Ok(Calendars { services, period })
    }

    /// Returns whether a service runs on a date of the feed.
    pub(crate) fn runs(&self, service: &str, date: Date) -> bool {
        self.services.get(service).is_some_and(|service| service.runs(date))
    }

    /// Projects the feed's services onto the dates of a window, and returns a note for the user if dates were replaced.
    /// Without a window it takes the feed's own period, but at most a year. `trips` counts the trips of each service.
    pub(crate) fn project(&self, window: Option<Window>, trips: &HashMap<&str, usize>) -> (Projection, Option<String>) {
        let (first, last) = self.period;
        let length = u32::try_from(last - first + 1).unwrap_or(DAYS_MAX);
        let own = Window {
            from: first,
            days: length.min(DAYS_MAX),
        };
        let mut projection = Projection {
            window: window.unwrap_or(own),
            period: self.period,
            week: None,
        };
        let outside: Vec<Date> = projection.dates().filter(|date| !projection.is_inside(*date)).collect();
        let Some((from, to)) = outside.first().zip(outside.last()) else {
            return (projection, None);
        };
        let week = self.reference_week(*from > last, trips);
        projection.week = Some(week);
        let note = format!(
            "the feed speaks for {} to {}: {} dates from {} to {} run as the week of {} does",
            date_text(first),
            date_text(last),
            outside.len(),
            date_text(*from),
            date_text(*to),
            date_text(week)
        );
        (projection, Some(note))
    }

    /// First day of the busiest week; of equals the one nearest to the dates wanted.
    fn reference_week(&self, wanted_later: bool, trips: &HashMap<&str, usize>) -> Date {
        let (first, last) = self.period;
        let (first, last) = match wanted_later {
            true => (first.max(last - SEARCH_DAYS), last),
            false => (first, last.min(first + SEARCH_DAYS)),
        };
        let busy = |date: Date| -> usize {
            let running = trips.iter().filter(|(service, _)| self.runs(service, date));
            running.map(|(_, count)| count).sum()
        };
        let by_day: Vec<usize> = (first..=last).map(busy).collect();
        let weeks = by_day.windows(7).map(|week| week.iter().sum::<usize>()).zip(first..);
        let nearest = |start: Date| if wanted_later { start } else { -start };
        let busiest = weeks.max_by_key(|(count, start)| (*count, nearest(*start)));
        busiest.map_or(first, |(_, start)| start)
    }
}

impl Projection {
    /// The dates wanted.
    pub(crate) fn dates(&self) -> impl Iterator<Item = Date> + use<> {
        self.window.dates()
    }

    /// The date of the feed that a date runs as.
    pub(crate) fn runs_as(&self, date: Date) -> Date {
        match self.week {
            Some(week) if !self.is_inside(date) => week + (date - week).rem_euclid(7),
            _ => date,
        }
    }

    fn is_inside(&self, date: Date) -> bool {
        (self.period.0..=self.period.1).contains(&date)
    }
}

impl Service {
    fn runs(&self, date: Date) -> bool {
        let weekly = || self.weekly.as_ref().is_some_and(|weekly| weekly.runs(date));
        self.added.contains(&date) || (!self.removed.contains(&date) && weekly())
    }
}

impl Weekly {
    fn new(calendar: &Calendar) -> Weekly {
        let (c, start, end) = (calendar, calendar.start_date, calendar.end_date);
        Weekly {
            weekdays: [
                c.monday,
                c.tuesday,
                c.wednesday,
                c.thursday,
                c.friday,
                c.saturday,
                c.sunday,
            ],
            first: days(start.year(), start.month(), start.day()),
            last: days(end.year(), end.month(), end.day()),
        }
    }

    fn runs(&self, date: Date) -> bool {
        (self.first..=self.last).contains(&date) && self.weekdays[weekday(date)]
    }
}

/// Monday is 0; day 0 was a Thursday.
fn weekday(date: Date) -> usize {
    (date + 3).rem_euclid(7) as usize
}

/// Days since 1970 of a date that the reader has checked.
fn days(year: i16, month: i8, day: i8) -> Date {
    let date = NaiveDate::from_ymd_opt(year.into(), month.unsigned_abs().into(), day.unsigned_abs().into());
    date.unwrap_or_default()
        .signed_duration_since(NaiveDate::default())
        .num_days() as Date
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONDAY: Date = 20_003; // 2024-10-07

    fn calendars(exceptions: &[(Date, Exception)]) -> Calendars {
        let weekly = Weekly {
            weekdays: [true, true, true, true, true, false, false],
            first: MONDAY,
            last: MONDAY + 27,
        };
        let mut service = Service {
            weekly: Some(weekly),
            ..Service::default()
        };
        for (date, exception) in exceptions {
            let dates = if *exception == Exception::Added {
                &mut service.added
            } else {
                &mut service.removed
            };
            dates.insert(*date);
        }
        Calendars {
            services: [("weekdays".to_owned(), service)].into(),
            period: (MONDAY, MONDAY + 27),
        }
    }

    fn running(calendars: &Calendars, from: Date, days: u32) -> Vec<Date> {
        let (projection, _) = calendars.project(Some(Window { from, days }), &[("weekdays", 3)].into());
        let runs = projection
            .dates()
            .filter(|date| calendars.runs("weekdays", projection.runs_as(*date)));
        runs.map(|date| date - from).collect()
    }

    #[test]
    fn days_and_weekdays_are_counted_right() {
        assert_eq!((days(1970, 1, 1), days(2024, 10, 7)), (0, MONDAY));
        assert_eq!((weekday(0), weekday(MONDAY), weekday(MONDAY + 6)), (3, 0, 6));
    }

    #[test]
    fn within_its_period_a_feed_is_followed_with_its_exceptions() {
        let calendars = calendars(&[(MONDAY + 1, Exception::Deleted), (MONDAY + 5, Exception::Added)]);
        assert_eq!(running(&calendars, MONDAY, 8), [0, 2, 3, 4, 5, 7]);
    }

    #[test]
    fn outside_its_period_dates_run_as_the_busiest_week() {
        let holidays: Vec<_> = (14..28).map(|day| (MONDAY + day, Exception::Deleted)).collect();
        let calendars = calendars(&holidays);
        assert_eq!(running(&calendars, MONDAY + 700, 7), [0, 1, 2, 3, 4]);
        assert_eq!(
            running(&calendars, MONDAY - 702, 7),
            [2, 3, 4, 5, 6],
            "a Saturday and a Sunday first"
        );
        let (_, note) = calendars.project(
            Some(Window {
                from: MONDAY + 26,
                days: 4,
            }),
            &HashMap::new(),
        );
        assert!(note.unwrap().contains("2 dates from 2024-11-04 to 2024-11-05"));
    }

    #[test]
    fn a_feed_without_dates_is_an_error() {
        assert!(matches!(Calendars::new(vec![], &[]), Err(SeedError::NoCalendar)));
    }
}
