//! The route of a trip: its stops with codes, times and distances.

use std::collections::{HashMap, HashSet};

use gtfs_structures::{LocationType, PickupDropOffType, RawStopTime, Stop as GtfsStop};
use interlock_inventory::{LEGS_MAX, TIME_OF_DAY_MAX_S};
use interlock_schemas::Stop;

use super::identifiers::{Identifiers, counts, sanitise};

/// Mean radius of the Earth, in metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// Speed assumed if neither distances nor coordinates are known: 60 km/h by the timetable.
const SPEED_M_PER_S: f64 = 60_000.0 / 3_600.0;
/// `shape_dist_traveled` has no fixed unit: the smallest of these (feet, metres, kilometres, miles; in metres) with
/// which a feed's routes are at least as long as the straight lines between their stops.
const UNITS_M: [f64; 4] = [0.3048, 1.0, 1_000.0, 1_609.344];
/// Room for coordinates that are a little off.
const NOT_SHORTER_THAN: f64 = 0.95;

/// Stations by the stop ids of a feed.
#[derive(Debug)]
pub(crate) struct Stations<'a> {
    by_stop: HashMap<&'a str, Station>,
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
    #[error("has fewer than two stops")]
    TooShort,
    #[error("has more than {} stops", LEGS_MAX + 1)]
    TooLong,
    #[error("calls at a stop that stops.txt lacks")]
    UnknownStop,
    #[error("has no possible time at its first or last stop")]
    NoTime,
    #[error("runs backwards in time")]
    Backwards,
}

/// The source of distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DistanceBy {
    Shape,
    Coordinates,
    Time,
}

impl<'a> Stations<'a> {
    /// Platforms are sold as the station they belong to. The code is `stop_code` where that tells stations apart, else
    /// made from `stop_id`.
    pub(crate) fn new(stops: &'a [GtfsStop]) -> Stations<'a> {
        let by_id: HashMap<&str, &'a GtfsStop> = stops.iter().map(|stop| (stop.id.as_str(), stop)).collect();
        let stands_for = |stop: &'a GtfsStop| -> &'a GtfsStop {
            let parent = stop.parent_station.as_deref().and_then(|id| by_id.get(id).copied());
            parent
                .filter(|parent| parent.location_type == LocationType::StopArea)
                .unwrap_or(stop)
        };
        let stations = stops.iter().filter(|stop| stands_for(stop).id == stop.id);
        let codes = counts(stations.clone().filter_map(|stop| stop.code.as_deref()));
        let mut identifiers = Identifiers::default();
        let code_of = |stop: &GtfsStop| match stop.code.as_deref() {
            Some(code) if codes.get(code) == Some(&1) && sanitise(code) == code => identifiers.claim(code),
            _ => identifiers.claim(&stop.id),
        };
        let code_by_id: HashMap<&str, String> = stations
            .clone()
            .map(|stop| stop.id.as_str())
            .zip(stations.map(code_of))
            .collect();
        let station = |stop: &'a GtfsStop| {
            let whole = stands_for(stop);
            let code = code_by_id.get(whole.id.as_str()).cloned().unwrap_or_default();
            let name = whole
                .name
                .as_deref()
                .or(stop.name.as_deref())
                .map_or_else(|| code.clone(), str::to_owned);
            (
                stop.id.as_str(),
                Station {
                    code,
                    name,
                    place: place(stop).or_else(|| place(whole)),
                },
            )
        };
        Stations {
            by_stop: stops.iter().map(station).collect(),
        }
    }

    /// The unit of `shape_dist_traveled`, in metres, judged by all trips together; metres where nothing can be judged.
    pub(crate) fn shape_unit_m<'t>(&self, trips: impl Iterator<Item = &'t Vec<RawStopTime>>) -> f64 {
        let (mut by_shape, mut straight) = (0.0, 0.0);
        for stop_times in trips {
            if let (Some(shape), Some(line)) = (shape_distances(stop_times), self.straight_lines(stop_times)) {
                by_shape += shape.last().copied().unwrap_or(0.0);
                straight += line.last().copied().unwrap_or(0.0);
            }
        }
        let long_enough = |unit: &&f64| by_shape * **unit >= straight * NOT_SHORTER_THAN;
        if straight > 0.0 {
            *UNITS_M.iter().find(long_enough).unwrap_or(&1.0)
        } else {
            1.0
        }
    }

    /// The stops of a trip; `stop_times` in order.
    pub(crate) fn route(
        &self,
        stop_times: &[RawStopTime],
        shape_unit_m: f64,
    ) -> Result<(Vec<Stop>, DistanceBy), NoRoute> {
        let calls: Vec<&RawStopTime> = stop_times.iter().filter(|call| is_for_passengers(call)).collect();
        match calls.len() {
            0 | 1 => return Err(NoRoute::TooShort),
            n if n > LEGS_MAX + 1 => return Err(NoRoute::TooLong),
            _ => {}
        }
        let times = times(&calls)?;
        let calls: Vec<RawStopTime> = calls.into_iter().cloned().collect();
        let (distances, by) = self.distances(&calls, &times, shape_unit_m);
        let mut codes = HashSet::new();
        let mut route = Vec::with_capacity(calls.len());
        for ((call, (arrival_s, departure_s)), distance_m) in calls.iter().zip(times).zip(distances) {
            let station = self.by_stop.get(call.stop_id.as_str()).ok_or(NoRoute::UnknownStop)?;
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

    /// Metres from the first stop, each stop at least one metre from the one before.
    fn distances(&self, calls: &[RawStopTime], times: &[(i32, i32)], shape_unit_m: f64) -> (Vec<i64>, DistanceBy) {
        let by_shape = || {
            Some((
                shape_distances(calls)?.iter().map(|d| d * shape_unit_m).collect(),
                DistanceBy::Shape,
            ))
        };
        let by_place = || Some((self.straight_lines(calls)?, DistanceBy::Coordinates));
        let by_time = || {
            let start = times[0].1;
            (
                times
                    .iter()
                    .map(|(arrival, _)| f64::from(arrival - start) * SPEED_M_PER_S)
                    .collect(),
                DistanceBy::Time,
            )
        };
        let (metres, by): (Vec<f64>, DistanceBy) = by_shape().or_else(by_place).unwrap_or_else(by_time);
        let mut nearest = -1;
        let ascending = metres.into_iter().map(|metres| {
            nearest = (metres.round() as i64).max(nearest + 1);
            nearest
        });
        (ascending.collect(), by)
    }

    /// Great circles from stop to stop, added up; none if a place isn't known.
    fn straight_lines(&self, calls: &[RawStopTime]) -> Option<Vec<f64>> {
        let places: Vec<_> = calls
            .iter()
            .map(|call| self.by_stop.get(call.stop_id.as_str())?.place)
            .collect::<Option<_>>()?;
        let mut total = 0.0;
        let legs = places.windows(2).map(|pair| {
            total += great_circle_m(pair[0], pair[1]);
            total
        });
        Some(std::iter::once(0.0).chain(legs).collect())
    }
}

fn place(stop: &GtfsStop) -> Option<(f64, f64)> {
    let place = stop.latitude.zip(stop.longitude)?;
    let plausible = place.0.abs() <= 90.0 && place.1.abs() <= 180.0 && place != (0.0, 0.0);
    plausible.then_some(place)
}

/// A second visit to a station gets a code of its own: `wsrod`, then `wsrod.2`.
fn code_of_visit(code: &str, taken: &HashSet<String>) -> String {
    let again = (2..).map(|visit| format!("{code}.{visit}"));
    let mut candidates = std::iter::once(code.to_owned()).chain(again);
    candidates
        .find(|candidate| !taken.contains(candidate))
        .unwrap_or_default()
}

/// Nobody may board or leave at a stop for operation.
fn is_for_passengers(call: &RawStopTime) -> bool {
    call.pickup_type != PickupDropOffType::NotAvailable || call.drop_off_type != PickupDropOffType::NotAvailable
}

/// Distances from the first stop, if all are given and ascend.
fn shape_distances(calls: &[RawStopTime]) -> Option<Vec<f64>> {
    let all: Vec<f64> = calls
        .iter()
        .map(|call| call.shape_dist_traveled.map(f64::from))
        .collect::<Option<_>>()?;
    let (first, last) = all.first().zip(all.last())?;
    let usable = first.is_finite() && last > first && all.is_sorted();
    usable.then(|| all.iter().map(|distance| distance - first).collect())
}

/// Arrival and departure at each stop. Stops between two that have times, but without any of their own, are spread
/// evenly.
fn times(calls: &[&RawStopTime]) -> Result<Vec<(i32, i32)>, NoRoute> {
    let known: Vec<Option<(i32, i32)>> = calls
        .iter()
        .map(|call| {
            let arrival = call.arrival_time.or(call.departure_time)?;
            let departure = call.departure_time.unwrap_or(arrival);
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

/// None if it lies beyond what a plan may say.
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
        let call = |time: Option<u32>| RawStopTime {
            arrival_time: time,
            departure_time: time,
            ..RawStopTime::default()
        };
        let calls = [Some(100), None, None, Some(400)].map(call);
        let spread = times(&calls.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(spread, [(100, 100), (200, 200), (300, 300), (400, 400)]);
        let backwards = [Some(100), Some(99)].map(call);
        assert_eq!(times(&backwards.iter().collect::<Vec<_>>()), Err(NoRoute::Backwards));
        let absurd = [Some(100), Some(u32::MAX)].map(call);
        assert_eq!(times(&absurd.iter().collect::<Vec<_>>()), Err(NoRoute::NoTime));
        let open = [Some(100), None].map(call);
        assert_eq!(times(&open.iter().collect::<Vec<_>>()), Err(NoRoute::NoTime));
    }
}
