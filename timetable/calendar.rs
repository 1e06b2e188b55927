//! The dates on which a timetable's trains run.
//!
//! A feed speaks for a period only. Dates outside it run as a **reference week**: the seven days in a row, within the
//! period, on which most trains run (so it is no week of holidays); each date as the day of that week with its weekday.
//! That also serves feeds that list dates one by one and have no weekly pattern.

use std::collections::{HashMap, HashSet};

use interlock_schemas::Date;

use crate::{DAYS_MAX, Window, date_text};

/// Days of a period that are searched for the reference week, from the end that is nearer to the dates wanted.
const SEARCH_DAYS: i32 = 731;

/// Days of a period that are compared to find out whether two services run on the same day.
const COMPARED_DAYS: i32 = 5 * 366;

/// The services of a feed.
#[derive(Debug, Default)]
pub(crate) struct Calendars {
    services: HashMap<String, Service>,
    /// First and last date that the feed speaks for; none until it speaks for one.
    period: Option<(Date, Date)>,
}

#[derive(Debug, Default)]
struct Service {
    /// The rows of `calendar.txt`; a service may have several.
    weekly: Vec<Weekly>,
    added: HashSet<Date>,
    removed: HashSet<Date>,
}

/// Days of the week, Monday first, on which a service runs between two dates.
#[derive(Clone, Debug)]
pub(crate) struct Weekly {
    pub(crate) weekdays: [bool; 7],
    pub(crate) first: Date,
    pub(crate) last: Date,
}

/// The dates wanted, and the dates of the feed that they run as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Projection {
    window: Window,
    period: (Date, Date),
    /// First day of the reference week, where one is needed.
    week: Option<Date>,
}

impl Calendars {
    /// Adds a row of `calendar.txt`.
    pub(crate) fn add_weekly(&mut self, service: &str, weekly: Weekly) {
        if weekly.first <= weekly.last {
            self.speak_for(weekly.first, weekly.last);
            self.service(service).weekly.push(weekly);
        }
    }

    /// Adds a row of `calendar_dates.txt`.
    pub(crate) fn add_exception(&mut self, service: &str, date: Date, is_added: bool) {
        if is_added {
            self.speak_for(date, date);
            self.service(service).added.insert(date);
        } else {
            self.service(service).removed.insert(date);
        }
    }

    fn service(&mut self, id: &str) -> &mut Service {
        self.services.entry(id.to_owned()).or_default()
    }

    fn speak_for(&mut self, first: Date, last: Date) {
        let (earliest, latest) = self.period.unwrap_or((first, last));
        self.period = Some((earliest.min(first), latest.max(last)));
    }

    /// Returns whether the feed speaks for no date at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.period.is_none()
    }

    /// Returns whether a service runs on a date of the feed.
    pub(crate) fn runs(&self, service: &str, date: Date) -> bool {
        self.services.get(service).is_some_and(|service| service.runs(date))
    }

    /// Returns the services prepared for comparison.
    pub(crate) fn compared(&self) -> Compared<'_> {
        Compared {
            calendars: self,
            days: HashMap::new(),
        }
    }

    /// Returns how the dates of a window run, and the notes on it. Without a window: the feed's own period, at most
    /// a year of
    /// it. `trips` counts the trips of each service.
    pub(crate) fn project(&self, window: Option<Window>, trips: &HashMap<&str, usize>) -> (Projection, Option<String>) {
        let (first, last) = self.period.unwrap_or((0, 0));
        let length = i64::from(last) - i64::from(first) + 1;
        let own = Window {
            from: first,
            days: u32::try_from(length).map_or(DAYS_MAX, |length| length.min(DAYS_MAX)),
        };
        let mut projection = Projection {
            window: window.unwrap_or(own),
            period: (first, last),
            week: None,
        };
        if window.is_none() && length > i64::from(DAYS_MAX) {
            let note = format!(
                "the feed speaks for {} to {}, {length} days: only the first {DAYS_MAX} are put on sale",
                date_text(first),
                date_text(last)
            );
            return (projection, Some(note));
        }
        if self.is_empty() {
            return (projection, None);
        }
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

    /// Returns the first day of the busiest week; of equals the one nearest to the dates wanted.
    fn reference_week(&self, wanted_later: bool, trips: &HashMap<&str, usize>) -> Date {
        let (first, last) = self.period.unwrap_or((0, 0));
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

/// Finds out whether services run on the same day.
#[derive(Debug)]
pub(crate) struct Compared<'a> {
    calendars: &'a Calendars,
    /// For each service asked for: a bit for each of its days, with its days late.
    days: HashMap<(&'a str, i32), Vec<u64>>,
}

impl<'a> Compared<'a> {
    /// Returns whether two trips set out on one date. Each is a service and the days from its service day to its
    /// departure.
    pub(crate) fn meet(&mut self, a: (&'a str, i32), b: (&'a str, i32)) -> bool {
        for (service, late) in [a, b] {
            let calendars = self.calendars;
            let days = || calendars.days(service, late);
            self.days.entry((service, late)).or_insert_with(days);
        }
        self.days[&a].iter().zip(&self.days[&b]).any(|(a, b)| a & b != 0)
    }
}

impl Calendars {
    fn days(&self, service: &str, late: i32) -> Vec<u64> {
        let Some((first, last)) = self.period else {
            return Vec::new();
        };
        let last = last.min(first.saturating_add(COMPARED_DAYS));
        let mut bits = vec![0; (last - first) as usize / 64 + 1];
        for date in first..=last {
            if self.runs(service, date - late) {
                let at = (date - first) as usize;
                bits[at / 64] |= 1 << (at % 64);
            }
        }
        bits
    }
}

impl Projection {
    /// Returns the dates wanted.
    pub(crate) fn dates(&self) -> impl Iterator<Item = Date> + use<> {
        self.window.dates()
    }

    /// Returns the date of the feed that a date runs as.
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
        let weekly = || self.weekly.iter().any(|weekly| weekly.runs(date));
        self.added.contains(&date) || (!self.removed.contains(&date) && weekly())
    }
}

impl Weekly {
    fn runs(&self, date: Date) -> bool {
        (self.first..=self.last).contains(&date) && self.weekdays[weekday(date)]
    }
}

/// Monday is 0; day 0 was a Thursday.
fn weekday(date: Date) -> usize {
    (date + 3).rem_euclid(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONDAY: Date = 20_003; // 2024-10-07

    /// Runs from Monday to Friday in four weeks, with these exceptions: the date, and whether it is added.
    fn calendars(exceptions: &[(Date, bool)]) -> Calendars {
        let mut calendars = Calendars::default();
        calendars.add_weekly("weekdays", weekly([true, true, true, true, true, false, false], 27));
        for (date, is_added) in exceptions {
            calendars.add_exception("weekdays", *date, *is_added);
        }
        calendars
    }

    fn weekly(weekdays: [bool; 7], last: Date) -> Weekly {
        Weekly {
            weekdays,
            first: MONDAY,
            last: MONDAY + last,
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
    fn weekdays_are_counted_right() {
        assert_eq!((weekday(0), weekday(MONDAY), weekday(MONDAY + 6)), (3, 0, 6));
    }

    #[test]
    fn within_its_period_a_feed_is_followed_with_its_exceptions() {
        let calendars = calendars(&[(MONDAY + 1, false), (MONDAY + 5, true)]);
        assert_eq!(running(&calendars, MONDAY, 8), [0, 2, 3, 4, 5, 7]);
    }

    #[test]
    fn outside_its_period_dates_run_as_the_busiest_week() {
        let holidays: Vec<_> = (14..28).map(|day| (MONDAY + day, false)).collect();
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
    fn both_rows_of_a_service_count() {
        let mut calendars = Calendars::default();
        let on = |day: usize| std::array::from_fn(|weekday| weekday == day);
        calendars.add_weekly("weekdays", weekly(on(0), 13));
        calendars.add_weekly("weekdays", weekly(on(2), 6));
        assert_eq!(running(&calendars, MONDAY, 14), [0, 2, 7]);
    }

    #[test]
    fn a_period_of_more_than_a_year_is_cut_and_noted() {
        let mut calendars = Calendars::default();
        calendars.add_weekly("weekdays", weekly([true; 7], 499));
        let (projection, note) = calendars.project(None, &HashMap::new());
        assert_eq!(projection.dates().count(), 366);
        let note = note.unwrap();
        assert!(note.contains("500 days: only the first 366"), "{note}");
    }

    #[test]
    fn trips_meet_if_they_set_out_on_one_date() {
        let mut calendars = Calendars::default();
        let on = |day: usize| std::array::from_fn(|weekday| weekday == day);
        calendars.add_weekly("monday", weekly(on(0), 13));
        calendars.add_weekly("tuesday", weekly(on(1), 13));
        let mut compared = calendars.compared();
        assert!(!compared.meet(("monday", 0), ("tuesday", 0)));
        assert!(
            compared.meet(("monday", 1), ("tuesday", 0)),
            "one sets out after midnight"
        );
        assert!(!compared.meet(("monday", 0), ("nowhere", 0)));
    }
}
