//! The route of a trip: its stops with codes, times and distances.

use std::collections::{HashMap, HashSet};

use interlock_inventory::{LEGS_MAX, TIME_OF_DAY_MAX_S};
use interlock_schemas::Stop;

use crate::identifiers::station_code;

/// Mean radius of the Earth, in metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// Where neither distances nor coordinates are known: 60 km/h by the timetable.
const SPEED_M_PER_S: f64 = 60_000.0 / 3_600.0;
/// `shape_dist_traveled` has no fixed unit, and one feed may have several. The unit of a trip is the smallest of these
/// (feet, metres, kilometres, miles; in metres) with which its route is at least as long as the straight lines
/// between its
/// stops.
const UNITS_M: [f64; 4] = [0.3048, 1.0, 1_000.0, 1_609.344];
/// A route may be this much shorter than the straight lines, since coordinates are a little off.
const NOT_SHORTER_THAN: f64 = 0.95;
/// A route that is longer than this many times the straight lines isn't believed.
const NOT_LONGER_THAN: f64 = 10.0;

/// A row of `stops.txt`.
#[derive(Clone, Debug)]
pub(crate) struct StopRow {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) latitude: Option<f64>,
    pub(crate) longitude: Option<f64>,
    pub(crate) is_station: bool,
    /// `stop_id` of the station that a platform belongs to.
    pub(crate) parent: Option<String>,
}

/// A trip's call at a stop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Call {
    pub(crate) sequence: u32,
    /// Index of the stop.
    pub(crate) stop: usize,
    /// In seconds of the service day.
    pub(crate) arrival: Option<u32>,
    pub(crate) departure: Option<u32>,
    /// Passengers may board or alight; the others are halts for operation.
    pub(crate) is_for_passengers: bool,
    /// `shape_dist_traveled`, in the trip's unit.
    pub(crate) distance: Option<f64>,
}

/// Stations, by index of the stop.
#[derive(Debug)]
pub(crate) struct Stations {
    by_stop: Vec<Station>,
}

#[derive(Clone, Debug)]
struct Station {
    code: String,
    name: String,
    /// Latitude and longitude, in degrees.
    place: Option<(f64, f64)>,
}

/// The reason why a trip can't be sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRoute {
    #[error("they have fewer than two stops")]
    TooShort,
    #[error("they have more than {} stops", LEGS_MAX + 1)]
    TooLong,
    #[error("they have no possible time at the first or last stop")]
    NoTime,
    #[error("they run backwards in time")]
    Backwards,
}

/// The source of a trip's distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DistanceBy {
    Shape,
    Coordinates,
    Time,
}

impl Stations {
    /// Platforms are sold as the station they belong to. A station's code is made from its `stop_id` alone, so that
    /// it is
    /// the same in every version of the feed. `index` finds a row by its `stop_id`.
    pub(crate) fn new(stops: &[StopRow], index: &HashMap<String, usize>) -> Stations {
        let station = |stop: &StopRow| {
            let parent = stop.parent.as_ref().and_then(|id| index.get(id)).map(|at| &stops[*at]);
            let whole = parent.filter(|parent| parent.is_station).unwrap_or(stop);
            let code = station_code(&whole.id);
            let name = whole.name.as_ref().or(stop.name.as_ref()).unwrap_or(&code).clone();
            Station {
                place: place(stop).or_else(|| place(whole)),
                code,
                name,
            }
        };
        Stations {
            by_stop: stops.iter().map(station).collect(),
        }
    }

    /// Returns the stops of a trip, and the source of their distances; `calls` in order.
    pub(crate) fn route(&self, calls: &[Call]) -> Result<(Vec<Stop>, DistanceBy), NoRoute> {
        let calls: Vec<Call> = calls.iter().copied().filter(|call| call.is_for_passengers).collect();
        match calls.len() {
            0 | 1 => return Err(NoRoute::TooShort),
            n if n > LEGS_MAX + 1 => return Err(NoRoute::TooLong),
            _ => {}
        }
        let times = times(&calls)?;
        let (distances, by) = self.distances(&calls, &times);
        let mut codes = HashSet::new();
        let mut route = Vec::with_capacity(calls.len());
        for ((call, (arrival_s, departure_s)), distance_m) in calls.iter().zip(times).zip(distances) {
            let station = &self.by_stop[call.stop];
            let code = code_of_visit(&station.code, &codes);
            codes.insert(code.clone());
            route.push(Stop {
                code: code.into(),
                name: station.name.clone().into(),
                arrival_s,
                departure_s,
                distance_m,
            });
        }
        Ok((route, by))
    }

    /// Returns metres from the first stop, each stop at least one metre from the one before.
    fn distances(&self, calls: &[Call], times: &[(i32, i32)]) -> (Vec<i64>, DistanceBy) {
        let start = times[0].1;
        let by_time = || {
            times
                .iter()
                .map(|(arrival, _)| f64::from(arrival - start) * SPEED_M_PER_S)
        };
        let (metres, by) = match (self.straight_lines(calls), shape_distances(calls)) {
            (Some(straight), Some(shape)) => match unit_of(&shape, &straight) {
                Some(unit) => (
                    shape.iter().map(|distance| distance * unit).collect(),
                    DistanceBy::Shape,
                ),
                None => (straight, DistanceBy::Coordinates),
            },
            (Some(straight), None) => (straight, DistanceBy::Coordinates),
            // Without coordinates nothing tells the unit of the shape's distances.
            (None, _) => (by_time().collect::<Vec<f64>>(), DistanceBy::Time),
        };
        let mut nearest = -1;
        let ascending = metres.into_iter().map(|metres| {
            nearest = (metres.round() as i64).max(nearest + 1);
            nearest
        });
        (ascending.collect(), by)
    }

    /// Returns the great circles from stop to stop, added up; none if a place isn't known.
    fn straight_lines(&self, calls: &[Call]) -> Option<Vec<f64>> {
        let places = calls.iter().map(|call| self.by_stop[call.stop].place);
        let places: Vec<_> = places.collect::<Option<_>>()?;
        let mut total = 0.0;
        let legs = places.windows(2).map(|pair| {
            total += great_circle_m(pair[0], pair[1]);
            total
        });
        Some(std::iter::once(0.0).chain(legs).collect())
    }
}

/// Returns the unit of a trip's distances, in metres, if one is plausible.
fn unit_of(shape: &[f64], straight: &[f64]) -> Option<f64> {
    let (shape, straight) = shape.last().zip(straight.last())?;
    let unit = UNITS_M
        .into_iter()
        .find(|unit| shape * unit >= straight * NOT_SHORTER_THAN)?;
    (shape * unit <= straight * NOT_LONGER_THAN).then_some(unit)
}

fn place(stop: &StopRow) -> Option<(f64, f64)> {
    stop.latitude.zip(stop.longitude).filter(|place| *place != (0.0, 0.0))
}

/// A second visit to a station gets a code of its own: `wsrod`, then `wsrod.2`.
fn code_of_visit(code: &str, taken: &HashSet<String>) -> String {
    let again = (2..).map(|visit| format!("{code}.{visit}"));
    let mut candidates = std::iter::once(code.to_owned()).chain(again);
    candidates
        .find(|candidate| !taken.contains(candidate))
        .unwrap_or_default()
}

/// Returns the distances from the first stop, if all are given and ascend.
fn shape_distances(calls: &[Call]) -> Option<Vec<f64>> {
    let all: Vec<f64> = calls.iter().map(|call| call.distance).collect::<Option<_>>()?;
    let (first, last) = all.first().zip(all.last())?;
    let usable = last > first && all.is_sorted();
    usable.then(|| all.iter().map(|distance| distance - first).collect())
}

/// Returns arrival and departure at each stop. Stops without times are spread evenly between the neighbours that
/// have some.
fn times(calls: &[Call]) -> Result<Vec<(i32, i32)>, NoRoute> {
    let known: Vec<Option<(i32, i32)>> = calls
        .iter()
        .map(|call| {
            let arrival = call.arrival.or(call.departure)?;
            let departure = call.departure.unwrap_or(arrival);
            Some((time_of_day(arrival)?, time_of_day(departure)?))
        })
        .collect();
    if known.first().is_none_or(Option::is_none) || known.last().is_none_or(Option::is_none) {
        return Err(NoRoute::NoTime);
    }
    let mut times: Vec<(i32, i32)> = Vec::with_capacity(known.len());
    for (i, call) in known.iter().enumerate() {
        let time = call.unwrap_or_else(|| {
            let (_, before) = times.last().copied().unwrap_or_default();
            let ahead = known[i..].iter().position(Option::is_some).unwrap_or(0);
            let after = known[i + ahead].map_or(before, |(arrival, _)| arrival);
            let at = before + (after - before) / (ahead as i32 + 1);
            (at, at)
        });
        if time.0 > time.1 || times.last().is_some_and(|(_, left)| *left > time.0) {
            return Err(NoRoute::Backwards);
        }
        times.push(time);
    }
    Ok(times)
}

/// Returns a time as a plan states it; none if it lies beyond the plan's limit.
pub(crate) fn time_of_day(seconds: u32) -> Option<i32> {
    i32::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds <= TIME_OF_DAY_MAX_S)
}

/// The haversine formula, on degrees.
fn great_circle_m(a: (f64, f64), b: (f64, f64)) -> f64 {
    let ((lat_a, lon_a), (lat_b, lon_b)) = (
        (a.0.to_radians(), a.1.to_radians()),
        (b.0.to_radians(), b.1.to_radians()),
    );
    let half = |x: f64| (x / 2.0).sin().powi(2);
    let chord = half(lat_b - lat_a) + lat_a.cos() * lat_b.cos() * half(lon_b - lon_a);
    2.0 * EARTH_RADIUS_M * chord.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_great_circle_from_warsaw_to_krakow() {
        let metres = great_circle_m((52.2288, 21.0032), (50.0677, 19.9450));
        assert!((metres - 251_300.0).abs() < 1_000.0, "{metres}");
    }

    #[test]
    fn stops_without_times_are_spread_between_their_neighbours() {
        let call = |time: Option<u32>| Call {
            arrival: time,
            departure: time,
            ..Call::default()
        };
        let calls = [Some(100), None, None, Some(400)].map(call);
        let spread = times(&calls).unwrap();
        assert_eq!(spread, [(100, 100), (200, 200), (300, 300), (400, 400)]);
        let backwards = [Some(100), Some(99)].map(call);
        assert_eq!(times(&backwards), Err(NoRoute::Backwards));
        let absurd = [Some(100), Some(u32::MAX)].map(call);
        assert_eq!(times(&absurd), Err(NoRoute::NoTime));
        let open = [Some(100), None].map(call);
        assert_eq!(times(&open), Err(NoRoute::NoTime));
    }

    #[test]
    fn the_unit_is_judged_by_the_straight_lines() {
        let straight = [0.0, 128_000.0];
        for (end, unit) in [
            (426_000.0, 0.3048),
            (130_000.0, 1.0),
            (130.0, 1_000.0),
            (80.8, 1_609.344),
        ] {
            assert_eq!(unit_of(&[0.0, end], &straight), Some(unit), "{end}");
        }
        assert_eq!(unit_of(&[0.0, 3.0], &straight), None, "too short in any unit");
        assert_eq!(unit_of(&[0.0, 90_000_000.0], &straight), None, "too long in any unit");
    }
}
