//! A timetable in GTFS as plans.
//!
//! A trip becomes a train; trips with one number that never run on the same date become one train, with a timetable
//! for each of its runs. Only rail is sold: trams, metros and trains (route types 0, 1, 2, 12 and the extended 100–117,
//! 400–405, 900–906); replacement buses and the like are counted and left out. GTFS has no coaches and no fares by
//! distance: those come from a template.
//!
//! Times count from noon minus twelve hours of the *service* day. A trip that sets out at 24:00 or later is dated by
//! the calendar, so that a travel date is always the date at the train's origin, and keeps its times.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use interlock_inventory::TIMETABLES_MAX;
use interlock_schemas::{Date, Stop, Timetable, TrainService};

use crate::calendar::Projection;
use crate::feed::{self, Feed, Trip};
use crate::identifiers::train_id;
use crate::notes::Notes;
use crate::route::{DistanceBy, time_of_day};
use crate::template::{Template, Templates, Timetabled};
use crate::{Seed, SeedError, Window, check_days};

const DAY_S: i32 = 86_400;
/// Most runs that one row of `frequencies.txt` may stand for: one each minute of a day.
const RUNS_MAX: u32 = 1_440;

/// Reads a feed (a folder or a zip file). Without a window trains run on the feed's own dates; with one, dates
/// outside the
/// feed's period run as a typical week of it, and the notes say so.
pub fn gtfs(path: &Path, window: Option<Window>, templates: &Templates) -> Result<Seed, SeedError> {
    window.map_or(Ok(()), check_days)?;
    let mut notes = Notes::default();
    let mut feed = feed::read(path, &mut notes)?;
    if feed.calendars.is_empty() {
        notes.say(
            "the feed has no running dates: neither calendar.txt nor calendar_dates.txt says when a train runs"
                .to_owned(),
        );
    }
    let mut by_service: HashMap<&str, usize> = HashMap::new();
    for trip in &feed.trips {
        *by_service.entry(&trip.service).or_default() += 1;
    }
    let (projection, note) = feed.calendars.project(window, &by_service);
    note.into_iter().for_each(|note| notes.say(note));
    let trips = std::mem::take(&mut feed.trips);
    let mut maker = Maker {
        by_number: named_by_number(&trips, &feed, &mut notes),
        feed,
        projection,
        templates,
        notes,
        trains: BTreeMap::new(),
        idle: BTreeSet::new(),
    };
    for (index, trip) in trips.iter().enumerate() {
        maker.add(index, trip);
    }
    let mut notes = maker.notes;
    let trains = maker.trains.into_iter();
    let trains = trains.filter_map(|(id, parts)| parts.train(id, &mut notes)).collect();
    Seed::new(maker.feed.name, trains, maker.idle, notes)
}

/// Makes trains from trips.
struct Maker<'a> {
    feed: Feed,
    projection: Projection,
    templates: &'a Templates,
    /// Trips whose number is the train's id.
    by_number: Vec<bool>,
    notes: Notes,
    trains: BTreeMap<String, Parts<'a>>,
    /// Trains of the feed that can't be sold, or not on these dates.
    idle: BTreeSet<String>,
}

/// A train in the making.
struct Parts<'a> {
    template: &'a Template,
    name: String,
    time_zone: &'static str,
    timetables: Vec<Timetable>,
}

impl<'a> Maker<'a> {
    /// Adds the trains of a trip: one, or one for each run if frequencies say so.
    fn add(&mut self, index: usize, trip: &Trip) {
        let wanted = match (&trip.number, self.by_number[index]) {
            (Some(number), true) => number,
            _ => &trip.id,
        };
        if let Err(reason) = self.sell(index, trip, wanted) {
            self.notes.count(&format!("trips left out, {reason}"), &trip.id);
            self.idle.insert(train_id(wanted, None));
        }
    }

    fn sell(&mut self, index: usize, trip: &Trip, wanted: &str) -> Result<(), String> {
        if let Some(fault) = trip.fault {
            return Err(fault.to_owned());
        }
        if trip.calls.is_empty() {
            return Err("they call nowhere".to_owned());
        }
        let (stops, by) = self
            .feed
            .stations
            .route(&trip.calls)
            .map_err(|reason| reason.to_string())?;
        let time_zone = trip.zone.name();
        let template = self.templates.select(trip.route_type, time_zone);
        let template = template.ok_or_else(|| format!("no template is for their route type in {time_zone}"))?;
        let first = stops[0].departure_s;
        for start in self.starts(index, trip, first) {
            let run = (start != first).then(|| format!("{:02}{:02}", start / 3_600, start / 60 % 60));
            let id = train_id(wanted, run.as_deref());
            // Days by which the run sets out after its service day.
            let late = start.div_euclid(DAY_S);
            let running_dates = self.running_dates(&trip.service, late);
            if running_dates.is_empty() {
                self.notes
                    .count("trips left out, they run on none of the dates", &trip.id);
                self.idle.insert(id);
                continue;
            }
            if late > 0 {
                self.notes.count(
                    "trips begin after midnight of their service day, dated by the calendar",
                    &trip.id,
                );
            }
            let headsign = trip.headsign.as_deref().unwrap_or(&stops[stops.len() - 1].name);
            let parts = Parts {
                template,
                name: format!("{} {headsign}", trip.line),
                time_zone,
                timetables: Vec::new(),
            };
            let timetable = Timetable {
                running_dates,
                route: shifted(&stops, start - first),
            };
            self.add_timetable(id, trip, parts, timetable);
        }
        self.notes.count(distance_note(by), &trip.id);
        Ok(())
    }

    /// Adds a timetable to its train, or further dates to one that the train has.
    fn add_timetable(&mut self, id: String, trip: &Trip, parts: Parts<'a>, timetable: Timetable) {
        let train = self.trains.entry(id).or_insert(parts);
        let is_taken = |date: &Date| {
            let mut timetables = train.timetables.iter();
            timetables.any(|known| known.running_dates.binary_search(date).is_ok())
        };
        if timetable.running_dates.iter().any(is_taken) {
            self.notes
                .count("trips left out, another trip has the id of their train", &trip.id);
            return;
        }
        let known = train.timetables.iter_mut().find(|known| known.route == timetable.route);
        let Some(known) = known else {
            train.timetables.push(timetable);
            return;
        };
        known.running_dates.extend(timetable.running_dates);
        known.running_dates.sort_unstable();
    }

    /// Returns the departures from the first stop, in seconds of the service day.
    fn starts(&mut self, index: usize, trip: &Trip, first: i32) -> Vec<i32> {
        let Some(rows) = self.feed.frequencies.get(&index) else {
            return vec![first];
        };
        let mut starts = BTreeSet::new();
        for row in rows {
            let runs = row.end.saturating_sub(row.start).div_ceil(row.headway);
            if !row.is_exact || runs > RUNS_MAX {
                self.notes.count(
                    "rows of frequencies.txt left out, they give no exact times, so such runs can't be booked",
                    &trip.id,
                );
                continue;
            }
            let run = |number: u32| time_of_day(row.start.saturating_add(number.saturating_mul(row.headway)));
            starts.extend((0..runs).filter_map(run));
        }
        starts.into_iter().collect()
    }

    fn running_dates(&self, service: &str, late: i32) -> Vec<Date> {
        let service_day = |date: &Date| self.projection.runs_as(*date - late);
        self.projection
            .dates()
            .filter(|date| self.feed.calendars.runs(service, service_day(date)))
            .collect()
    }
}

impl Parts<'_> {
    /// Returns the plan, with the timetables in the order of their first dates.
    fn train(mut self, id: String, notes: &mut Notes) -> Option<TrainService> {
        self.timetables
            .sort_by_key(|timetable| timetable.running_dates.first().copied());
        if self.timetables.len() > 1 {
            notes.count("trains have several timetables, each on dates of its own", &id);
        }
        let mut timetables = self.timetables.into_iter();
        let first = timetables.next()?;
        Some(self.template.dress(Timetabled {
            train_id: id,
            name: self.name,
            time_zone: self.time_zone.to_owned(),
            running_dates: first.running_dates,
            route: first.route,
            other_timetables: timetables.collect(),
        }))
    }
}

/// Returns for each trip whether its number is the train's id: its trips are of one agency, and no two of them set out
/// on one date. The dates wanted don't matter, so that a train keeps its id whatever dates are put on sale.
fn named_by_number(trips: &[Trip], feed: &Feed, notes: &mut Notes) -> Vec<bool> {
    let mut by_number: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, trip) in trips.iter().enumerate() {
        if let Some(number) = &trip.number {
            by_number.entry(number).or_default().push(index);
        }
    }
    let mut named = vec![false; trips.len()];
    let mut calendars = feed.calendars.compared();
    for (number, sharing) in by_number {
        let run = |trip: &usize| (trips[*trip].service.as_str(), days_late(&trips[*trip]));
        let runs: Vec<(&str, i32)> = sharing.iter().map(run).collect();
        let are_alike = sharing
            .windows(2)
            .all(|pair| are_alike(&trips[pair[0]], &trips[pair[1]]));
        let has_frequencies = || sharing.iter().any(|trip| feed.frequencies.contains_key(trip));
        let meets_another = |at: usize| runs[..at].iter().any(|other| calendars.meet(*other, runs[at]));
        let is_one_train = sharing.len() == 1
            || (are_alike
                && sharing.len() <= TIMETABLES_MAX
                && !has_frequencies()
                && !(1..runs.len()).any(meets_another));
        if is_one_train {
            sharing.iter().for_each(|trip| named[*trip] = true);
        } else {
            notes.count("numbers name several runs, these trains go by their trip_id", number);
        }
    }
    named
}

/// Returns whether two trips can be one train's: it has one operator, and coaches of one kind.
fn are_alike(a: &Trip, b: &Trip) -> bool {
    (a.agency, a.route_type, a.zone) == (b.agency, b.route_type, b.zone)
}

/// Returns the days from a trip's service day to its departure.
fn days_late(trip: &Trip) -> i32 {
    let first = trip.calls.iter().find(|call| call.is_for_passengers);
    let departure = first
        .and_then(|call| call.departure.or(call.arrival))
        .and_then(time_of_day);
    departure.unwrap_or(0).div_euclid(DAY_S)
}

/// Returns the stops, later by some seconds.
fn shifted(stops: &[Stop], seconds: i32) -> Vec<Stop> {
    let shift = |stop: &Stop| Stop {
        arrival_s: (stop.arrival_s + seconds).max(0),
        departure_s: stop.departure_s + seconds,
        ..stop.clone()
    };
    stops.iter().map(shift).collect()
}

fn distance_note(by: DistanceBy) -> &'static str {
    match by {
        DistanceBy::Shape => "trips have distances by shape_dist_traveled",
        DistanceBy::Coordinates => "trips have distances by great circles between their stops",
        DistanceBy::Time => "trips have distances by scheduled time at 60 km/h, for want of coordinates",
    }
}
