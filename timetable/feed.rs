//! Reads the columns of a GTFS feed that matter here, file by file. A bad row costs itself, or its trip, and is noted.
//!
//! Files are read as streams, and only the calls of trips by rail are kept: a national feed needs memory for its
//! trains,
//! not for its buses.

mod source;
mod table;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use chrono::NaiveDate;
use chrono_tz::Tz;
use interlock_schemas::Date;

use self::source::Source;
use self::table::{Bad, Column, Row, Table, number, time};
use crate::SeedError;
use crate::calendar::{Calendars, Weekly};
use crate::notes::Notes;
use crate::route::{Call, Stations, StopRow};

/// The feed, as far as it matters.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Name of the publisher, or else of the first agency.
    pub(crate) name: String,
    pub(crate) stations: Stations,
    pub(crate) calendars: Calendars,
    /// The trips by rail.
    pub(crate) trips: Vec<Trip>,
    /// Rows of `frequencies.txt`, by trip. A trip that is here runs only as they say, even if none is left.
    pub(crate) frequencies: HashMap<usize, Vec<Frequency>>,
}

/// A trip by rail.
#[derive(Debug)]
pub(crate) struct Trip {
    pub(crate) id: String,
    /// The number that passengers know (`trip_short_name`).
    pub(crate) number: Option<String>,
    pub(crate) headsign: Option<String>,
    pub(crate) service: String,
    pub(crate) agency: usize,
    pub(crate) zone: Tz,
    /// Name of its line.
    pub(crate) line: String,
    pub(crate) route_type: i16,
    /// In the order of `stop_sequence`.
    pub(crate) calls: Vec<Call>,
    /// The reason why it can't be sold, as far as the files alone show it.
    pub(crate) fault: Option<&'static str>,
}

/// Departures of a trip at a fixed interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frequency {
    /// First departure, in seconds of the service day.
    pub(crate) start: u32,
    /// No departure at or after this.
    pub(crate) end: u32,
    pub(crate) headway: u32,
    /// The departures are exact times; others can't be booked.
    pub(crate) is_exact: bool,
}

#[derive(Debug)]
struct Agency {
    id: Option<String>,
    name: String,
    zone: Option<Tz>,
}

#[derive(Debug)]
struct Route {
    agency: usize,
    line: String,
    route_type: i16,
}

/// Where a trip id of the feed leads.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// A trip by rail: its index.
    Rail(usize),
    /// A trip that isn't sold.
    Other,
}

/// Reads a folder or a zip file.
pub(crate) fn read(path: &Path, notes: &mut Notes) -> Result<Feed, SeedError> {
    let mut source = Source::open(path)?;
    let agencies = agencies(&mut source, notes)?;
    let routes = routes(&mut source, &agencies, notes)?;
    let (stations, stop_index) = stops(&mut source, notes)?;
    let calendars = calendars(&mut source, notes)?;
    let mut trips = Trips::read(&mut source, &agencies, &routes, notes)?;
    trips.read_calls(&mut source, &stop_index, notes)?;
    let frequencies = trips.read_frequencies(&mut source, notes)?;
    trips.read_transfers(&mut source, notes);
    let name = publisher(&mut source).unwrap_or_else(|| agencies[0].name.clone());
    Ok(Feed {
        name,
        stations,
        calendars,
        trips: trips.rail,
        frequencies,
    })
}

/// Returns at least one agency, and at least one with a time zone.
fn agencies(source: &mut Source, notes: &mut Notes) -> Result<Vec<Agency>, SeedError> {
    let table = Table::require(source, "agency.txt")?;
    let (id, name) = (table.column("agency_id"), table.column("agency_name"));
    let zone = table.require_column("agency_timezone")?;
    let mut agencies = Vec::new();
    let mut wrong = None;
    table.each(notes, |row, notes| {
        let text = row.require(&zone)?;
        let known = text.parse().ok();
        let name = row.text(&name)?.or(row.text(&id)?).unwrap_or("(nameless)").to_owned();
        if known.is_none() {
            notes.count(
                "agencies whose agency_timezone is no IANA time zone, their trips are left out",
                text,
            );
            wrong.get_or_insert_with(|| SeedError::TimeZone {
                agency: name.clone(),
                zone: text.to_owned(),
            });
        }
        agencies.push(Agency {
            id: row.text(&id)?.map(str::to_owned),
            name,
            zone: known,
        });
        Ok(())
    })?;
    if agencies.iter().any(|agency| agency.zone.is_some()) {
        return Ok(agencies);
    }
    Err(wrong.unwrap_or(SeedError::NoRows {
        file: "agency.txt".to_owned(),
    }))
}

fn routes(source: &mut Source, agencies: &[Agency], notes: &mut Notes) -> Result<HashMap<String, Route>, SeedError> {
    let table = Table::require(source, "routes.txt")?;
    let id = table.require_column("route_id")?;
    let route_type = table.require_column("route_type")?;
    let agency = table.column("agency_id");
    let (short, long) = (table.column("route_short_name"), table.column("route_long_name"));
    let mut routes = HashMap::new();
    let rows = table.each(notes, |row, _| {
        let route_id = row.require(&id)?;
        let route = Route {
            agency: match row.text(&agency)? {
                // A feed with one agency may leave the ids out.
                Some(wanted) => agencies.iter().position(|agency| agency.id.as_deref() == Some(wanted)),
                None => None,
            }
            .unwrap_or(0),
            line: row.text(&short)?.or(row.text(&long)?).unwrap_or(route_id).to_owned(),
            route_type: row.require_parsed(&route_type, "a route type", number)?,
        };
        if routes.contains_key(route_id) {
            return Err(Bad::repeated(&id, route_id));
        }
        routes.insert(route_id.to_owned(), route);
        Ok(())
    })?;
    some_rows(rows, "routes.txt", routes)
}

fn stops(source: &mut Source, notes: &mut Notes) -> Result<(Stations, HashMap<String, usize>), SeedError> {
    let table = Table::require(source, "stops.txt")?;
    let id = table.require_column("stop_id")?;
    let (name, kind) = (table.column("stop_name"), table.column("location_type"));
    let (latitude, longitude) = (table.column("stop_lat"), table.column("stop_lon"));
    let parent = table.column("parent_station");
    let mut stops: Vec<StopRow> = Vec::new();
    let mut index = HashMap::new();
    let degrees = |max: f64| move |text: &str| number::<f64>(text).filter(|degrees| degrees.abs() <= max);
    let rows = table.each(notes, |row, notes| {
        let stop_id = row.require(&id)?;
        let stop = StopRow {
            id: stop_id.to_owned(),
            name: row.text(&name)?.map(str::to_owned),
            latitude: row.optional(notes, &latitude, "a latitude", degrees(90.0))?,
            longitude: row.optional(notes, &longitude, "a longitude", degrees(180.0))?,
            is_station: row.text(&kind)? == Some("1"),
            parent: row.text(&parent)?.map(str::to_owned),
        };
        if index.contains_key(stop_id) {
            return Err(Bad::repeated(&id, stop_id));
        }
        index.insert(stop_id.to_owned(), stops.len());
        stops.push(stop);
        Ok(())
    })?;
    let stations = Stations::new(&stops, &index);
    some_rows(rows, "stops.txt", (stations, index))
}

fn calendars(source: &mut Source, notes: &mut Notes) -> Result<Calendars, SeedError> {
    let mut calendars = Calendars::default();
    if let Some(table) = Table::open(source, "calendar.txt")? {
        let id = table.require_column("service_id")?;
        let weekdays = [
            "monday",
            "tuesday",
            "wednesday",
            "thursday",
            "friday",
            "saturday",
            "sunday",
        ];
        let weekdays = weekdays.map(|day| table.column(day));
        let (first, last) = (table.require_column("start_date")?, table.require_column("end_date")?);
        table.each(notes, |row, notes| {
            let mut runs = [false; 7];
            for (runs, column) in runs.iter_mut().zip(&weekdays) {
                let day = match row.text(column)? {
                    // Nobody may be sold a train that perhaps doesn't run.
                    None => {
                        notes.count("weekdays of calendar.txt that are empty, taken as 0", row.require(&id)?);
                        None
                    }
                    Some(_) => row.optional(notes, column, "0 or 1", |text| match text {
                        "0" => Some(false),
                        "1" => Some(true),
                        _ => None,
                    })?,
                };
                *runs = day.unwrap_or(false);
            }
            let weekly = Weekly {
                weekdays: runs,
                first: row.require_parsed(&first, "a date", date)?,
                last: row.require_parsed(&last, "a date", date)?,
            };
            calendars.add_weekly(row.require(&id)?, weekly);
            Ok(())
        })?;
    }
    if let Some(table) = Table::open(source, "calendar_dates.txt")? {
        let id = table.require_column("service_id")?;
        let (day, kind) = (table.require_column("date")?, table.require_column("exception_type")?);
        table.each(notes, |row, _| {
            let is_added = row.require_parsed(&kind, "1 or 2", |text| match text {
                "1" => Some(true),
                "2" => Some(false),
                _ => None,
            })?;
            calendars.add_exception(row.require(&id)?, row.require_parsed(&day, "a date", date)?, is_added);
            Ok(())
        })?;
    }
    Ok(calendars)
}

/// The trips of a feed, while its files are read.
struct Trips {
    rail: Vec<Trip>,
    by_id: HashMap<String, Known>,
    /// Trips that share their vehicle with another (`block_id`).
    in_blocks: HashSet<usize>,
}

impl Trips {
    fn read(
        source: &mut Source,
        agencies: &[Agency],
        routes: &HashMap<String, Route>,
        notes: &mut Notes,
    ) -> Result<Trips, SeedError> {
        let table = Table::require(source, "trips.txt")?;
        let (id, route_id) = (table.require_column("trip_id")?, table.require_column("route_id")?);
        let service = table.require_column("service_id")?;
        let (number, headsign) = (table.column("trip_short_name"), table.column("trip_headsign"));
        let block = table.column("block_id");
        let (mut rail, mut by_id) = (Vec::new(), HashMap::new());
        let mut blocks: HashMap<String, Vec<usize>> = HashMap::new();
        let rows = table.each(notes, |row, notes| {
            let trip_id = row.require(&id)?;
            if by_id.contains_key(trip_id) {
                return Err(Bad::repeated(&id, trip_id));
            }
            by_id.insert(trip_id.to_owned(), Known::Other);
            let route_id = row.require(&route_id)?;
            let Some(route) = routes.get(route_id) else {
                notes.count("trips left out, routes.txt has no such route", trip_id);
                return Ok(());
            };
            let kind = route.route_type;
            if !is_rail(kind) {
                notes.count(
                    &format!("trips left out that are no trains (route type {kind})"),
                    trip_id,
                );
                return Ok(());
            }
            let Some(zone) = agencies[route.agency].zone else {
                notes.count("trips left out, their agency has no time zone", trip_id);
                return Ok(());
            };
            let trip = Trip {
                id: trip_id.to_owned(),
                number: row.text(&number)?.map(str::to_owned),
                headsign: row.text(&headsign)?.map(str::to_owned),
                service: row.require(&service)?.to_owned(),
                agency: route.agency,
                zone,
                line: route.line.clone(),
                route_type: kind,
                calls: Vec::new(),
                fault: None,
            };
            if let Some(block) = row.text(&block)? {
                blocks.entry(block.to_owned()).or_default().push(rail.len());
            }
            by_id.insert(trip_id.to_owned(), Known::Rail(rail.len()));
            rail.push(trip);
            Ok(())
        })?;
        let shared = blocks.into_values().filter(|trips| trips.len() > 1);
        let in_blocks = shared.flatten().collect();
        some_rows(rows, "trips.txt", Trips { rail, by_id, in_blocks })
    }

    /// Reads the calls of the trips by rail. A bad row costs its trip, which would otherwise seem to pass the stop.
    fn read_calls(
        &mut self,
        source: &mut Source,
        stops: &HashMap<String, usize>,
        notes: &mut Notes,
    ) -> Result<(), SeedError> {
        let table = Table::require(source, "stop_times.txt")?;
        let columns = CallColumns::new(&table)?;
        let rows = table.each(notes, |row, notes| {
            let trip_id = row.require(&columns.trip)?;
            let trip = match self.by_id.get(trip_id) {
                Some(Known::Rail(trip)) => &mut self.rail[*trip],
                Some(Known::Other) => return Ok(()),
                None => {
                    notes.count("rows of stop_times.txt left out, trips.txt has no such trip", trip_id);
                    return Ok(());
                }
            };
            if columns.is_zone(row)? {
                notes.count("calls at zones on demand left out, only stations are sold", trip_id);
                return Ok(());
            }
            match columns.call(row, stops, notes) {
                Ok(Some(call)) => trip.calls.push(call),
                Ok(None) => trip.fault = Some("they call at a stop that stops.txt lacks"),
                Err(bad) => {
                    trip.fault = Some("a row of stop_times.txt is bad");
                    return Err(bad);
                }
            }
            Ok(())
        })?;
        for trip in &mut self.rail {
            trip.calls.sort_by_key(|call| call.sequence);
            trip.calls.dedup();
            if trip.calls.windows(2).any(|pair| pair[0].sequence == pair[1].sequence) {
                trip.fault = Some("they have two calls with one stop_sequence");
            }
            trip.calls.shrink_to_fit();
        }
        some_rows(rows, "stop_times.txt", ())
    }

    fn read_frequencies(
        &self,
        source: &mut Source,
        notes: &mut Notes,
    ) -> Result<HashMap<usize, Vec<Frequency>>, SeedError> {
        let mut by_trip: HashMap<usize, Vec<Frequency>> = HashMap::new();
        let Some(table) = Table::open(source, "frequencies.txt")? else {
            return Ok(by_trip);
        };
        let id = table.require_column("trip_id")?;
        let (start, end) = (table.column("start_time"), table.column("end_time"));
        let (headway, exact) = (table.column("headway_secs"), table.column("exact_times"));
        table.each(notes, |row, _| {
            let Some(Known::Rail(trip)) = self.by_id.get(row.require(&id)?) else {
                return Ok(());
            };
            let rows = by_trip.entry(*trip).or_default();
            rows.push(Frequency {
                start: row.require_parsed(&start, "a time", time)?,
                end: row.require_parsed(&end, "a time", time)?,
                headway: row.require_parsed(&headway, "a number of seconds", |text| {
                    number(text).filter(|seconds| *seconds > 0)
                })?,
                is_exact: row.text(&exact)? == Some("1"),
            });
            Ok(())
        })?;
        Ok(by_trip)
    }

    /// Notes the trips that carry their passengers on as another trip. They are sold one by one, so a file that
    /// can't be
    /// read loses nothing but the note.
    fn read_transfers(&self, source: &mut Source, notes: &mut Notes) {
        let mut through: HashSet<usize> = self.in_blocks.clone();
        let read = |source: &mut Source, through: &mut HashSet<usize>| -> Result<(), SeedError> {
            let Some(table) = Table::open(source, "transfers.txt")? else {
                return Ok(());
            };
            let (from, to) = (table.column("from_trip_id"), table.column("to_trip_id"));
            let kind = table.column("transfer_type");
            table.each(&mut Notes::default(), |row, _| {
                if row.text(&kind)? == Some("4") {
                    for trip in [row.text(&from)?, row.text(&to)?].into_iter().flatten() {
                        if let Some(Known::Rail(trip)) = self.by_id.get(trip) {
                            through.insert(*trip);
                        }
                    }
                }
                Ok(())
            })?;
            Ok(())
        };
        if read(source, &mut through).is_err() {
            notes.say("transfers.txt can't be read; it isn't needed".to_owned());
        }
        let mut trips: Vec<usize> = through.into_iter().collect();
        trips.sort_unstable();
        for trip in trips {
            notes.count(
                "trips may go on as another with the passengers on board (block_id, in-seat transfers); each is sold as \
                 a train of its own",
                &self.rail[trip].id,
            );
        }
    }
}

/// The columns of `stop_times.txt`.
struct CallColumns {
    trip: Column,
    sequence: Column,
    stop: Column,
    arrival: Column,
    departure: Column,
    pickup: Column,
    drop_off: Column,
    distance: Column,
    /// Filled in only for zones of services on demand.
    zone: [Column; 3],
}

impl CallColumns {
    fn new(table: &Table<'_>) -> Result<CallColumns, SeedError> {
        Ok(CallColumns {
            trip: table.require_column("trip_id")?,
            sequence: table.require_column("stop_sequence")?,
            stop: table.require_column("stop_id")?,
            arrival: table.column("arrival_time"),
            departure: table.column("departure_time"),
            pickup: table.column("pickup_type"),
            drop_off: table.column("drop_off_type"),
            distance: table.column("shape_dist_traveled"),
            zone: ["location_id", "location_group_id", "start_pickup_drop_off_window"].map(|name| table.column(name)),
        })
    }

    fn is_zone(&self, row: &Row<'_>) -> Result<bool, Bad> {
        for column in &self.zone {
            if row.text(column)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the call; none if its stop is unknown.
    fn call(&self, row: &Row<'_>, stops: &HashMap<String, usize>, notes: &mut Notes) -> Result<Option<Call>, Bad> {
        let Some(stop) = stops.get(row.require(&self.stop)?) else {
            return Ok(None);
        };
        let is_possible = |column| Ok(row.text(column)? != Some("1"));
        let distance = |text: &str| number::<f64>(text).filter(|distance| distance.is_finite() && *distance >= 0.0);
        Ok(Some(Call {
            sequence: row.require_parsed(&self.sequence, "a number", number)?,
            stop: *stop,
            arrival: row.parse(&self.arrival, "a time", time)?,
            departure: row.parse(&self.departure, "a time", time)?,
            is_for_passengers: is_possible(&self.pickup)? || is_possible(&self.drop_off)?,
            distance: row.optional(notes, &self.distance, "a distance", distance)?,
        }))
    }
}

/// Returns the publisher's name, if the feed states it.
fn publisher(source: &mut Source) -> Option<String> {
    let table = Table::open(source, "feed_info.txt").ok()??;
    let name = table.column("feed_publisher_name");
    let mut found = None;
    let read = table.each(&mut Notes::default(), |row, _| {
        if found.is_none() {
            found = row.text(&name)?.map(str::to_owned);
        }
        Ok(())
    });
    read.ok().and(found)
}

/// Returns whether a route type is sold: trams, metros and trains, basic and extended.
fn is_rail(route_type: i16) -> bool {
    matches!(route_type, 0..=2 | 12 | 100..=117 | 400..=405 | 900..=906)
}

/// Reads `YYYYMMDD` as days since 1970.
fn date(text: &str) -> Option<Date> {
    let is_date = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<u32>().ok();
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    is_date.then(|| date.to_epoch_days())
}

fn some_rows<T>(rows: usize, file: &str, read: T) -> Result<T, SeedError> {
    match rows {
        0 => Err(SeedError::NoRows { file: file.to_owned() }),
        _ => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_eight_digits() {
        assert_eq!(date("19700101"), Some(0));
        assert_eq!(date("20241007"), Some(20_003));
        for bad in ["2024-10-07", "20241301", "20240230", "2024107", "+2024107", "Ⅷ2024107"] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }
}
