//! I6: the rows that the window tables must have, computed from the events alone.
//!
//! The tables' migration states what each measure counts. This file is a second, plain reading of it that shares
//! nothing with the queries. A missing row counts as one of zeros.

use interlock_schemas::{Date, Event, EventHeader, EventKind, TrainService, topics};
use rustc_hash::FxHashMap;

use crate::findings::{Findings, Place};
use interlock_inventory::invariants::Invariant;

/// Most measures of a table.
pub(crate) const MEASURES_MAX: usize = 7;

/// Length of a window.
const MINUTE_MS: i64 = 60_000;

/// Measures of a row, in the table's order; those past its end are 0.
pub(crate) type Measures = [i64; MEASURES_MAX];

/// A window table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Table {
    /// Places taken, given back and waited for.
    Occupancy,
    /// Refused requests.
    Rejections,
    /// Money.
    Revenue,
    /// Seats that a train-date offers.
    Capacity,
}

/// A topology that keeps window tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Writer {
    /// `occupancy`.
    Occupancy,
    /// `revenue`.
    Revenue,
}

impl Writer {
    /// All of them.
    pub(crate) const ALL: [Writer; 2] = [Writer::Occupancy, Writer::Revenue];

    /// The topology's name.
    pub(crate) const fn topology(self) -> &'static str {
        match self {
            Writer::Occupancy => "occupancy",
            Writer::Revenue => "revenue",
        }
    }

    /// Topics whose events count in its tables. Openings and refusals move no money.
    pub(crate) const fn topics(self) -> &'static [&'static str] {
        match self {
            Writer::Occupancy => &topics::EVENTS,
            Writer::Revenue => &[topics::CONFIRMED, topics::WAITLIST, topics::CANCELLED],
        }
    }
}

impl Table {
    /// All of them.
    pub(crate) const ALL: [Table; 4] = [Table::Occupancy, Table::Rejections, Table::Revenue, Table::Capacity];

    /// Its name in the database.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Table::Occupancy => "occupancy_minute",
            Table::Rejections => "rejections_minute",
            Table::Revenue => "revenue_minute",
            Table::Capacity => "capacity",
        }
    }

    /// Key columns beside train, date and class.
    pub(crate) const fn labels(self) -> &'static [&'static str] {
        match self {
            Table::Occupancy => &["quota"],
            Table::Rejections => &["code"],
            Table::Revenue => &["quota", "currency"],
            Table::Capacity => &[],
        }
    }

    /// Returns whether each of its rows covers one minute.
    pub(crate) const fn by_minute(self) -> bool {
        !matches!(self, Table::Capacity)
    }

    /// Its measures. Those that end in `_time` are instants.
    pub(crate) const fn measures(self) -> &'static [&'static str] {
        match self {
            Table::Occupancy => &[
                "confirmed",
                "promoted",
                "released",
                "waitlisted",
                "waitlist_left",
                "seats_sold",
                "seat_metres_sold",
            ],
            Table::Rejections => &["rejected", "requests"],
            Table::Revenue => &["collected_minor", "refunded_minor", "bookings", "passengers"],
            Table::Capacity => &["seats", "seat_metres_offered", "departure_time"],
        }
    }
}

/// The columns that identify a row, beside the minute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Dimensions {
    pub(crate) train_id: String,
    pub(crate) travel_date: Date,
    pub(crate) travel_class: String,
    /// Values of [`Table::labels`]; empty where the table has fewer.
    pub(crate) labels: [String; 2],
}

impl Dimensions {
    /// Makes the text of a row's key comparable: PostgreSQL's text has every character but NUL, so the sinks write
    /// U+FFFD.
    fn presentable(mut self) -> Self {
        let Dimensions {
            train_id,
            travel_class,
            labels: [first, second],
            ..
        } = &mut self;
        for text in [train_id, travel_class, first, second] {
            if text.contains('\0') {
                *text = text.replace('\0', "\u{fffd}");
            }
        }
        self
    }
}

/// Key of a row: table, minute (in milliseconds; 0 where rows are of no minute) and the number of its interned
/// dimensions.
type RowKey = (Table, i64, u32);

/// Rows, summed up event by event.
#[derive(Debug, Default)]
pub(crate) struct WindowSums {
    interned: Vec<Dimensions>,
    known: FxHashMap<Dimensions, u32>,
    rows: FxHashMap<RowKey, Measures>,
}

impl WindowSums {
    /// Adds an event to the tables of some writers.
    pub(crate) fn add(&mut self, event: &Event, writers: &[Writer]) {
        let header = event.header();
        if header.replay {
            return;
        }
        if writers.contains(&Writer::Revenue) {
            self.add_money(event);
        }
        if !writers.contains(&Writer::Occupancy) {
            return;
        }
        match event {
            Event::Confirmed(confirmed) => {
                let seated = confirmed.passengers.len() as i64;
                let promoted = if header.kind == EventKind::Promotion { seated } else { 0 };
                let places = [
                    seated - promoted,
                    promoted,
                    0,
                    0,
                    0,
                    seated,
                    seated * confirmed.distance_m,
                ];
                self.add_row(Table::Occupancy, header, [&header.quota, ""], places);
            }
            Event::Waitlisted(waitlisted) => {
                let waiting = waitlisted.passengers.len() as i64;
                self.add_row(
                    Table::Occupancy,
                    header,
                    [&header.quota, ""],
                    [0, 0, 0, waiting, 0, 0, 0],
                );
            }
            Event::Cancelled(cancelled) => {
                let gone = cancelled
                    .passengers
                    .iter()
                    .filter(|passenger| !passenger.already_cancelled);
                let (mut seated, mut waiting) = (0, 0);
                for passenger in gone {
                    *if passenger.was_confirmed {
                        &mut seated
                    } else {
                        &mut waiting
                    } += 1;
                }
                let places = [0, 0, seated, 0, waiting, -seated, -seated * cancelled.distance_m];
                self.add_row(Table::Occupancy, header, [&header.quota, ""], places);
            }
            Event::Rejected(rejected) => {
                let refused = [i64::from(rejected.passenger_count), 1, 0, 0, 0, 0, 0];
                self.add_row(Table::Rejections, header, [&rejected.code, ""], refused);
            }
            Event::Opened(opened) => self.add_capacity(header, &opened.plan),
        }
    }

    fn add_money(&mut self, event: &Event) {
        let header = event.header();
        let named: Vec<i32> = match event {
            Event::Confirmed(event) if header.kind == EventKind::Answer => {
                event.passengers.iter().map(|passenger| passenger.index).collect()
            }
            Event::Waitlisted(event) if header.kind == EventKind::Answer => {
                event.passengers.iter().map(|passenger| passenger.index).collect()
            }
            _ => Vec::new(),
        };
        let amount = header.amount_minor;
        // A booking answered by two events is counted with its first passenger.
        let booking = i64::from(named.contains(&0));
        let money = [amount.max(0), (-amount).max(0), booking, named.len() as i64, 0, 0, 0];
        self.add_row(Table::Revenue, header, [&header.quota, &header.currency], money);
    }

    fn add_capacity(&mut self, header: &EventHeader, plan: &TrainService) {
        let mut seats: FxHashMap<&str, i64> = FxHashMap::default();
        for coach in &plan.coaches {
            let layout = plan.layouts.iter().find(|layout| layout.name == coach.layout);
            *seats.entry(&coach.travel_class).or_default() += layout.map_or(0, |layout| i64::from(layout.seats));
        }
        let length = plan.route.last().map_or(0, |stop| stop.distance_m);
        let departure = departure_time(plan, header.travel_date).unwrap_or_default();
        for (class, seats) in seats {
            let dimensions = Dimensions {
                train_id: header.train_id.to_string(),
                travel_date: header.travel_date,
                travel_class: class.to_owned(),
                labels: Default::default(),
            };
            let row = self.row(Table::Capacity, 0, dimensions);
            for (measure, value) in row.iter_mut().zip([seats, seats * length, departure]) {
                *measure = value.max(*measure);
            }
        }
    }

    fn add_row(&mut self, table: Table, header: &EventHeader, labels: [&str; 2], measures: Measures) {
        if measures.iter().all(|measure| *measure == 0) {
            return;
        }
        let dimensions = Dimensions {
            train_id: header.train_id.to_string(),
            travel_date: header.travel_date,
            travel_class: header.travel_class.to_string(),
            labels: labels.map(str::to_owned),
        };
        let minute = header.event_time.div_euclid(MINUTE_MS) * MINUTE_MS;
        let row = self.row(table, minute, dimensions);
        row.iter_mut().zip(measures).for_each(|(sum, measure)| *sum += measure);
    }

    fn row(&mut self, table: Table, minute: i64, dimensions: Dimensions) -> &mut Measures {
        let id = self.intern(dimensions.presentable());
        self.rows.entry((table, minute, id)).or_default()
    }

    fn intern(&mut self, dimensions: Dimensions) -> u32 {
        if let Some(id) = self.known.get(&dimensions) {
            return *id;
        }
        let id = self.interned.len() as u32;
        self.interned.push(dimensions.clone());
        self.known.insert(dimensions, id);
        id
    }

    /// Adds the rows of another ledger. (No two ledgers have a train-date in common, or I1 says so.)
    pub(crate) fn merge(&mut self, other: WindowSums) {
        let ids: Vec<u32> = other
            .interned
            .into_iter()
            .map(|dimensions| self.intern(dimensions))
            .collect();
        for ((table, minute, id), measures) in other.rows {
            let row = self.rows.entry((table, minute, ids[id as usize])).or_default();
            row.iter_mut().zip(measures).for_each(|(sum, measure)| *sum += measure);
        }
    }

    /// The rows that are not all zeros, in an order of their own.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> Vec<String> {
        let rows = self.rows.iter().map(|((table, minute, id), measures)| {
            format!(
                "{} {} {measures:?}",
                table.name(),
                row_name(*table, *minute, &self.interned[*id as usize])
            )
        });
        let mut rows: Vec<String> = rows.collect();
        rows.sort_unstable();
        rows
    }

    /// I6: compares a row of a table. Each row comes once.
    pub(crate) fn compare(
        &mut self,
        table: Table,
        minute: i64,
        dimensions: &Dimensions,
        found: &Measures,
        out: &mut Findings,
    ) {
        let expected = self
            .known
            .get(dimensions)
            .and_then(|id| self.rows.remove(&(table, minute, *id)));
        report(table, minute, dimensions, &expected.unwrap_or_default(), found, out);
    }

    /// I6: what was expected of tables and not found there.
    pub(crate) fn compare_rest(self, out: &mut Findings) {
        let mut rest: Vec<(RowKey, Measures)> = self.rows.into_iter().collect();
        rest.sort_unstable_by_key(|((table, minute, id), _)| (table.name(), *minute, *id));
        for ((table, minute, id), expected) in rest {
            report(
                table,
                minute,
                &self.interned[id as usize],
                &expected,
                &Measures::default(),
                out,
            );
        }
    }
}

fn report(
    table: Table,
    minute: i64,
    dimensions: &Dimensions,
    expected: &Measures,
    found: &Measures,
    out: &mut Findings,
) {
    out.checked(Invariant::I6, 1);
    for (at, column) in table.measures().iter().enumerate() {
        let (expected, found) = (expected[at], found[at]);
        if expected != found {
            let place = Place::Row {
                table: table.name(),
                row: row_name(table, minute, dimensions),
                column,
            };
            let detail = format!(
                "the table has {found}, the events give {expected} ({:+})",
                found - expected
            );
            out.violation(Invariant::I6, place, detail);
        }
    }
}

fn row_name(table: Table, minute: i64, dimensions: &Dimensions) -> String {
    let mut name = interlock_schemas::train_date_key(&dimensions.train_id, dimensions.travel_date);
    let labels = dimensions.labels.iter().take(table.labels().len());
    for part in std::iter::once(&dimensions.travel_class).chain(labels) {
        name = format!("{name}|{part}").into();
    }
    match chrono::DateTime::from_timestamp_millis(minute).filter(|_| table.by_minute()) {
        Some(minute) => format!("{} {name}", minute.format("%Y-%m-%dT%H:%MZ")),
        None => name.to_string(),
    }
}

/// Returns the time at which the train leaves its origin. Times count as in GTFS, from noon minus twelve hours of the
/// service day, which is before the travel date if the train leaves at 24:00 or later.
fn departure_time(plan: &TrainService, travel_date: Date) -> Option<i64> {
    use chrono::TimeZone;
    let zone: chrono_tz::Tz = plan.time_zone.parse().ok()?;
    let departure_s = plan.route.first()?.departure_s;
    let (year, month, day) = interlock_schemas::civil_from_days(travel_date - departure_s / 86_400);
    let noon = chrono::NaiveDate::from_ymd_opt(year, month, day)?.and_hms_opt(12, 0, 0)?;
    let noon = zone.from_local_datetime(&noon).earliest()?.timestamp();
    Some((noon - 12 * 3_600 + i64::from(departure_s)) * 1_000)
}
