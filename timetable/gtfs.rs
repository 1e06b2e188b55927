//! A timetable in GTFS as plans.
//!
//! One trip becomes one train. Only rail is sold: trams, metros and trains (route types 0, 1, 2, 12 and the extended
//! 100–117, 400–405, 900–906); replacement buses and the like are skipped and counted. GTFS has no coaches and no fares
//! by distance: those come from a template. A trip that begins after midnight of its service day gets the calendar's
//! date, so that a travel date is always the date at the train's origin.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use chrono_tz::Tz;
use gtfs_structures::{Agency, ExactTimes, RawFrequency, RawStopTime, RawTrip, Route, RouteType};
use interlock_schemas::{Date, TrainService};

use super::calendar::{Calendars, Projection};
use super::identifiers::{Identifiers, counts, sanitise};
use super::read::read;
use super::route::{DistanceBy, Stations, time_of_day};
use super::template::{Templates, Timetabled};
use super::{Seed, SeedError, Window, check_days};

const DAY_S: i32 = 86_400;
/// Most runs that one row of `frequencies.txt` may stand for: one each minute of a day.
const RUNS_MAX: u32 = 1_440;
/// Examples that a note names.
const EXAMPLES: usize = 3;

/// Reads a feed (a folder or a zip file). Without a window trains run on the feed's own dates; with one, dates outside
/// the feed's period run as a typical week of it, and the notes say so.
pub fn gtfs(path: &Path, window: Option<Window>, templates: &Templates) -> Result<Seed, SeedError> {
    window.map_or(Ok(()), check_days)?;
    let feed = read(path)?;
    let mut notes = Notes::default();
    let zones = zones(&feed.agencies)?;
    let calendars = Calendars::new(feed.calendar, &feed.calendar_dates)?;
    let routes: HashMap<&str, &Route> = feed.routes.iter().map(|route| (route.id.as_str(), route)).collect();
    let trips = rail_trips(&feed.trips, &routes, &mut notes);
    let mut by_service: HashMap<&str, usize> = HashMap::new();
    trips
        .iter()
        .for_each(|(trip, _)| *by_service.entry(&trip.service_id).or_default() += 1);
    let (projection, said) = calendars.project(window, &by_service);
    let calls = calls_by_trip(feed.stop_times);
    let stations = Stations::new(&feed.stops);
    let mut maker = Maker {
        zones,
        shape_unit_m: stations.shape_unit_m(calls.values()),
        frequencies: group(&feed.frequencies),
        short_names: counts(trips.iter().filter_map(|(trip, _)| short_name(trip))),
        stations,
        calendars,
        projection,
        calls,
        templates,
        identifiers: Identifiers::default(),
        notes,
    };
    let trains: Vec<TrainService> = trips
        .iter()
        .flat_map(|(trip, route)| maker.trains(trip, route))
        .collect();
    let notes = said.into_iter().chain(maker.notes.into_sentences()).collect();
    Seed::new(trains, notes)
}

/// Makes trains from trips.
struct Maker<'a> {
    zones: Vec<(Option<&'a str>, Tz)>,
    stations: Stations<'a>,
    calendars: Calendars,
    projection: Projection,
    calls: HashMap<String, Vec<RawStopTime>>,
    shape_unit_m: f64,
    frequencies: HashMap<&'a str, Vec<&'a RawFrequency>>,
    short_names: HashMap<&'a str, usize>,
    templates: &'a Templates,
    identifiers: Identifiers,
    notes: Notes,
}

impl Maker<'_> {
    /// The trains of a trip: one, or one for each run where frequencies say so.
    fn trains(&mut self, trip: &RawTrip, route: &Route) -> Vec<TrainService> {
        let Some(calls) = self.calls.remove(&trip.id) else {
            self.notes.add("trips skipped that call nowhere", &trip.id);
            return vec![];
        };
        let (stops, by) = match self.stations.route(&calls, self.shape_unit_m) {
            Ok(found) => found,
            Err(reason) => {
                self.notes.add(&format!("trips skipped: the trip {reason}"), &trip.id);
                return vec![];
            }
        };
        let zone = self.zone(route);
        let Some(template) = self.templates.select(type_number(route.route_type), zone.name()) else {
            self.notes.add(
                &format!("trips skipped: no template is for their route type in {zone}"),
                &trip.id,
            );
            return vec![];
        };
        self.notes.add(distance_note(by), &trip.id);
        let first = stops[0].departure_s;
        let mut trains = Vec::new();
        for start in self.starts(trip, first) {
            // Days by which the run begins after its service day.
            let late = start.div_euclid(DAY_S);
            let running_dates = self.running_dates(&trip.service_id, late);
            if running_dates.is_empty() {
                self.notes.add("trips skipped that run on none of the dates", &trip.id);
                continue;
            }
            if late > 0 {
                self.notes.add(
                    "trips begin after midnight of their service day: dated by the calendar",
                    &trip.id,
                );
            }
            let mut route_stops = stops.clone();
            let shift = start - first - late * DAY_S;
            for stop in &mut route_stops {
                (stop.arrival_s, stop.departure_s) = ((stop.arrival_s + shift).max(0), stop.departure_s + shift);
            }
            let train_id = self.train_id(trip, (start != first).then_some(start));
            let name = name(route, trip, &route_stops[route_stops.len() - 1].name);
            let time_zone = zone.name().to_owned();
            trains.push(template.dress(Timetabled {
                train_id,
                name,
                time_zone,
                running_dates,
                route: route_stops,
            }));
        }
        trains
    }

    /// Departures from the first stop, in seconds of the service day.
    fn starts(&mut self, trip: &RawTrip, first: i32) -> Vec<i32> {
        let Some(rows) = self.frequencies.get(trip.id.as_str()) else {
            return vec![first];
        };
        let mut starts = Vec::new();
        for row in rows {
            let usable = row.exact_times == Some(ExactTimes::ScheduleBased) && row.headway_secs > 0;
            let runs = row
                .end_time
                .saturating_sub(row.start_time)
                .div_ceil(row.headway_secs.max(1));
            if !usable || runs > RUNS_MAX {
                self.notes.add(
                    "frequencies skipped that give no exact times: such runs can't be booked",
                    &trip.id,
                );
                continue;
            }
            let run = |number: u32| time_of_day(row.start_time.saturating_add(number.saturating_mul(row.headway_secs)));
            starts.extend((0..runs).filter_map(run));
        }
        starts
    }

    fn running_dates(&self, service: &str, late: i32) -> Vec<Date> {
        let service_day = |date: &Date| self.projection.runs_as(*date - late);
        self.projection
            .dates()
            .filter(|date| self.calendars.runs(service, service_day(date)))
            .collect()
    }

    /// The number that passengers know, if it names one trip only.
    fn train_id(&mut self, trip: &RawTrip, start: Option<i32>) -> String {
        let known = short_name(trip).filter(|name| self.short_names.get(name) == Some(&1));
        let wanted = known.unwrap_or(&trip.id);
        match start {
            Some(start) => self.identifiers.claim(&format!(
                "{}.{:02}{:02}",
                sanitise(wanted),
                start / 3_600,
                start / 60 % 60
            )),
            None => self.identifiers.claim(wanted),
        }
    }

    fn zone(&self, route: &Route) -> Tz {
        let own = self
            .zones
            .iter()
            .find(|(id, _)| id.is_some() && *id == route.agency_id.as_deref());
        own.or(self.zones.first()).map_or(Tz::UTC, |(_, zone)| *zone)
    }
}

fn zones(agencies: &[Agency]) -> Result<Vec<(Option<&str>, Tz)>, SeedError> {
    let zone = |agency: &Agency| SeedError::TimeZone {
        agency: agency.name.clone(),
        zone: agency.timezone.clone(),
    };
    if agencies.is_empty() {
        return Err(SeedError::TimeZone {
            agency: "(none)".into(),
            zone: String::new(),
        });
    }
    agencies
        .iter()
        .map(|agency| Ok((agency.id.as_deref(), agency.timezone.parse().map_err(|_| zone(agency))?)))
        .collect()
}

fn rail_trips<'a>(
    trips: &'a [RawTrip],
    routes: &HashMap<&str, &'a Route>,
    notes: &mut Notes,
) -> Vec<(&'a RawTrip, &'a Route)> {
    let mut rail = Vec::new();
    for trip in trips {
        match routes.get(trip.route_id.as_str()) {
            None => notes.add("trips skipped whose route routes.txt lacks", &trip.id),
            Some(route) if is_rail(route.route_type) => rail.push((trip, *route)),
            Some(route) => {
                let number = type_number(route.route_type);
                notes.add(
                    &format!("trips skipped that are no trains (route type {number})"),
                    &trip.id,
                );
            }
        }
    }
    rail
}

fn is_rail(route_type: RouteType) -> bool {
    matches!(type_number(route_type), 0..=2 | 12 | 100..=117 | 400..=405 | 900..=906)
}

/// The number that the feed says.
fn type_number(route_type: RouteType) -> i16 {
    match route_type {
        RouteType::Tramway => 0,
        RouteType::Subway => 1,
        RouteType::Rail => 2,
        RouteType::Bus => 3,
        RouteType::Ferry => 4,
        RouteType::CableCar => 5,
        RouteType::Gondola => 6,
        RouteType::Funicular => 7,
        RouteType::Extended(extended) => extended as i16,
        RouteType::Other(number) => number,
    }
}

fn calls_by_trip(stop_times: Vec<RawStopTime>) -> HashMap<String, Vec<RawStopTime>> {
    let mut by_trip: HashMap<String, Vec<RawStopTime>> = HashMap::new();
    for call in stop_times {
        match by_trip.get_mut(&call.trip_id) {
            Some(calls) => calls.push(call),
            None => {
                by_trip.insert(call.trip_id.clone(), vec![call]);
            }
        }
    }
    by_trip
        .values_mut()
        .for_each(|calls| calls.sort_by_key(|call| call.stop_sequence));
    by_trip
}

fn group(frequencies: &[RawFrequency]) -> HashMap<&str, Vec<&RawFrequency>> {
    let mut by_trip: HashMap<&str, Vec<&RawFrequency>> = HashMap::new();
    frequencies
        .iter()
        .for_each(|row| by_trip.entry(&row.trip_id).or_default().push(row));
    by_trip
}

fn short_name(trip: &RawTrip) -> Option<&str> {
    trip.trip_short_name
        .as_deref()
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// Such as `A1 Grodzisk Mazowiecki Radońska`.
fn name(route: &Route, trip: &RawTrip, last_stop: &str) -> String {
    let line = route
        .short_name
        .as_deref()
        .or(route.long_name.as_deref())
        .unwrap_or(&route.id);
    let towards = trip.trip_headsign.as_deref().unwrap_or(last_stop);
    format!("{line} {towards}")
}

fn distance_note(by: DistanceBy) -> &'static str {
    match by {
        DistanceBy::Shape => "trips have distances by shape_dist_traveled",
        DistanceBy::Coordinates => "trips have distances by great circles between their stops",
        DistanceBy::Time => "trips have distances by scheduled time at 60 km/h, for want of coordinates",
    }
}

/// Notes for the user, one per reason.
#[derive(Debug, Default)]
struct Notes {
    reasons: BTreeMap<String, (usize, Vec<String>)>,
}

impl Notes {
    fn add(&mut self, reason: &str, id: &str) {
        let (count, examples) = self.reasons.entry(reason.to_owned()).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(id.to_owned());
        }
    }

    fn into_sentences(self) -> impl Iterator<Item = String> {
        self.reasons.into_iter().map(|(reason, (count, examples))| {
            let more = if count > examples.len() { ", …" } else { "" };
            format!("{count} {reason} ({}{more})", examples.join(", "))
        })
    }
}
