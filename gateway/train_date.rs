//! Train-dates as JSON, read from their ledgers at the moment of the call.

use std::collections::BTreeMap;
use std::sync::Arc;

use interlock_inventory::{Answer, Booking, Outcome, Place, Plan, SeatView, TrainDate};
use interlock_schemas::{Berth, Date};
use serde::Serialize;

use crate::json::date_text;

/// Most waiters named per list; all are counted.
const WAITERS_SHOWN_MAX: usize = 50;

/// A stop of a route.
#[derive(Debug, Serialize)]
pub(crate) struct Stop {
    pub code: String,
    pub name: String,
}

/// Returns the stops of a route.
pub(crate) fn stops(route: &[interlock_schemas::Stop]) -> Vec<Stop> {
    let stop = |stop: &interlock_schemas::Stop| Stop {
        code: stop.code.to_string(),
        name: stop.name.to_string(),
    };
    route.iter().map(stop).collect()
}

fn texts(dates: &[Date]) -> Vec<String> {
    dates.iter().copied().filter_map(date_text).collect()
}

/// A route of a train and the dates on which it runs by it.
#[derive(Debug, Serialize)]
pub(crate) struct Timetable {
    /// The dates.
    pub running_dates: Vec<String>,
    /// The route.
    pub stops: Vec<Stop>,
}

/// A train in the list of trains.
#[derive(Debug, Serialize)]
pub(crate) struct Train {
    pub train_id: String,
    pub name: String,
    /// Its route, by its first timetable.
    pub stops: Vec<Stop>,
    pub classes: Vec<String>,
    /// Dates on which the train runs, by any timetable.
    pub running_dates: Vec<String>,
    /// All timetables of a train that has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timetables: Vec<Timetable>,
}

impl Train {
    /// Creates the entry from a plan.
    pub(crate) fn new(plan: &Plan) -> Self {
        let service = plan.service();
        let timetable = |(dates, route): (&[Date], &[interlock_schemas::Stop])| Timetable {
            running_dates: texts(dates),
            stops: stops(route),
        };
        let timetables = match service.other_timetables.is_empty() {
            true => Vec::new(),
            false => service.timetables().map(timetable).collect(),
        };
        Self {
            train_id: service.train_id.to_string(),
            name: service.name.to_string(),
            stops: stops(&service.route),
            classes: service.fares.iter().map(|fare| fare.travel_class.to_string()).collect(),
            running_dates: texts(&service.dates()),
            timetables,
        }
    }
}

/// The content of a seat map.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    pub train_id: String,
    pub name: String,
    /// The date at its origin.
    pub travel_date: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Stops of the route; leg `i` goes from stop `i` to the next.
    pub stops: Vec<Stop>,
    /// Classes and how full they are.
    pub classes: Vec<Class>,
    /// Coaches in the train's order.
    pub coaches: Vec<Coach>,
    /// All waitlists, including empty ones.
    pub waitlists: Vec<List>,
    /// Number of accepted bookings.
    pub bookings: usize,
}

/// A class and how full it is.
#[derive(Debug, Serialize)]
pub(crate) struct Class {
    pub travel_class: String,
    pub seat_metres_sold: i64,
    /// Seat-metres offered; the load factor is sold divided by offered.
    pub seat_metres_offered: i64,
}

/// A coach and its seats.
#[derive(Debug, Serialize)]
pub(crate) struct Coach {
    /// Its name.
    pub coach: String,
    pub travel_class: String,
    /// Its seats in order.
    pub seats: Vec<Seat>,
}

/// A seat and its legs.
#[derive(Debug, Serialize)]
pub(crate) struct Seat {
    /// Its number, from 1.
    pub number: i32,
    /// Kind of berth or seat.
    pub berth: &'static str,
    /// The quota that sells it.
    pub quota: String,
    /// One character per leg: `x` if it is taken, `.` if it is free.
    pub legs: String,
}

/// The waitlist of a class and quota.
#[derive(Debug, Serialize)]
pub(crate) struct List {
    pub travel_class: String,
    pub quota: String,
    /// Number of waiting passengers.
    pub waiting: usize,
    /// The first waiters.
    pub first: Vec<Waiter>,
}

/// A waiting passenger.
#[derive(Debug, Serialize)]
pub(crate) struct Waiter {
    /// The booking.
    pub pnr: String,
    /// Position when the passenger joined the list.
    pub first_position: u32,
    /// Place among the waiting passengers at present.
    pub current_position: u32,
    /// Station code of the first stop.
    pub from: String,
    /// Station code of the last stop.
    pub to: String,
}

impl Snapshot {
    /// Creates the snapshot of an open train-date. Returns `None` if it has no plan.
    pub(crate) fn new(train_date: &TrainDate, travel_date: &str) -> Option<Self> {
        let plan = train_date.plan()?;
        let service = plan.service();
        let class = |fare: &interlock_schemas::Fare| Class {
            travel_class: fare.travel_class.to_string(),
            seat_metres_sold: train_date.seat_metres_sold(&fare.travel_class),
            seat_metres_offered: train_date.seat_metres_offered(&fare.travel_class),
        };
        let lists = train_date
            .allotments()
            .map(|(class, quota)| list(train_date, plan, class, quota));
        let is_booking = |(_, outcome): &(&str, &Outcome)| matches!(outcome, Outcome::Booking(_));
        Some(Self {
            train_id: service.train_id.to_string(),
            name: service.name.to_string(),
            travel_date: travel_date.to_owned(),
            currency: service.currency.to_string(),
            stops: stops(&service.route),
            classes: service.fares.iter().map(class).collect(),
            coaches: coaches(train_date, plan),
            waitlists: lists.collect(),
            bookings: train_date.outcomes().filter(is_booking).count(),
        })
    }
}

fn coaches(train_date: &TrainDate, plan: &Plan) -> Vec<Coach> {
    let mut coaches: Vec<Coach> = Vec::new();
    for seat in train_date.seat_map() {
        let shown = Seat {
            number: seat.number,
            berth: berth(seat.berth),
            quota: seat.quota.to_owned(),
            legs: legs(seat.taken, plan.legs()),
        };
        match coaches.last_mut() {
            Some(coach) if coach.coach == seat.coach => coach.seats.push(shown),
            _ => coaches.push(Coach {
                coach: seat.coach.to_owned(),
                travel_class: seat.travel_class.to_owned(),
                seats: vec![shown],
            }),
        }
    }
    coaches
}

fn legs(taken: u128, legs: usize) -> String {
    (0..legs)
        .map(|leg| if taken >> leg & 1 == 1 { 'x' } else { '.' })
        .collect()
}

fn list(train_date: &TrainDate, plan: &Plan, class: &str, quota: &str) -> List {
    let waiters = train_date.waitlist(class, quota);
    let shown = waiters.iter().take(WAITERS_SHOWN_MAX).map(|waiter| Waiter {
        pnr: waiter.booking.pnr.to_string(),
        first_position: waiter.first_position,
        current_position: waiter.current_position,
        from: plan.boarding(waiter.booking.segment).code.to_string(),
        to: plan.alighting(waiter.booking.segment).code.to_string(),
    });
    List {
        travel_class: class.to_owned(),
        quota: quota.to_owned(),
        first: shown.collect(),
        waiting: waiters.len(),
    }
}

/// Seats that fit a segment, and the waitlist, of a class and quota.
#[derive(Debug, Serialize)]
pub(crate) struct Availability {
    pub travel_class: String,
    pub quota: String,
    /// Seats that are free on all legs of the segment.
    pub available: usize,
    /// Number of waiting passengers.
    pub waiting: usize,
}

/// The outcome of a request.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Became {
    /// The booking was accepted.
    Booking(Box<BookingView>),
    /// The cancellation was carried out.
    Cancellation {
        /// Amount refunded, in minor units.
        refund_minor: i64,
        /// Number of passengers cancelled.
        passengers: usize,
    },
    /// The request was refused.
    Rejection {
        /// Code of the reason.
        code: String,
        /// A sentence that says what to do.
        message: String,
    },
}

/// A booking.
#[derive(Debug, Serialize)]
pub(crate) struct BookingView {
    pub pnr: String,
    pub train_id: String,
    /// The date at the train's origin.
    pub travel_date: String,
    /// Id of the request; a cancellation names it.
    pub request_id: String,
    /// The user who booked.
    pub user_id: String,
    /// Station code of the first stop.
    pub from_station: String,
    /// Station code of the last stop.
    pub to_station: String,
    pub travel_class: String,
    pub quota: String,
    /// The travellers.
    pub passengers: Vec<Passenger>,
    /// ISO 4217 code.
    pub currency: String,
}

/// A passenger of a booking.
#[derive(Debug, Serialize)]
pub(crate) struct Passenger {
    /// Index into the booking's passengers.
    pub index: u8,
    /// Name on the ticket.
    pub name: String,
    /// Fare paid, in minor units.
    pub fare_minor: i64,
    /// Seat or waitlist position.
    #[serde(flatten)]
    pub place: PlaceView,
}

/// Seat or waitlist position of a passenger.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(crate) enum PlaceView {
    /// The passenger has a seat.
    Confirmed {
        /// The coach.
        coach: String,
        /// Number of the seat in the coach.
        seat_number: i32,
        /// Kind of berth or seat.
        berth: &'static str,
    },
    /// The passenger waits.
    Waiting {
        /// Position when the passenger joined the list.
        first_position: u32,
        /// Place among the waiting passengers at present.
        current_position: u32,
    },
    /// The passenger was cancelled.
    Cancelled,
}

/// An index over the bookings of a train-date, for several lookups.
pub(crate) struct Bookings<'a> {
    train_date: &'a TrainDate,
    plan: &'a Arc<Plan>,
    travel_date: &'a str,
    seats: Vec<SeatView<'a>>,
    /// First and current waitlist position, by request and passenger.
    positions: BTreeMap<(&'a str, u8), (u32, u32)>,
}

impl<'a> Bookings<'a> {
    /// Creates the index. Returns `None` if the train-date has no plan.
    pub(crate) fn new(train_date: &'a TrainDate, travel_date: &'a str) -> Option<Self> {
        let waiters = train_date
            .allotments()
            .flat_map(|(class, quota)| train_date.waitlist(class, quota));
        let position = |waiter: interlock_inventory::WaiterView<'a>| {
            let position = (waiter.first_position, waiter.current_position);
            ((waiter.request_id, waiter.index), position)
        };
        Some(Self {
            train_date,
            plan: train_date.plan()?,
            travel_date,
            seats: train_date.seat_map().collect(),
            positions: waiters.map(position).collect(),
        })
    }

    /// Finds a booking by PNR.
    pub(crate) fn find(&self, pnr: interlock_inventory::Pnr) -> Option<BookingView> {
        let mut outcomes = self.train_date.outcomes();
        outcomes.find_map(|(request_id, outcome)| match outcome {
            Outcome::Booking(booking) if booking.pnr == pnr => Some(self.view(request_id, booking)),
            _ => None,
        })
    }

    /// The outcome of a request.
    pub(crate) fn outcome(&self, request_id: &str) -> Option<Became> {
        Some(match self.train_date.outcome(request_id)? {
            Outcome::Booking(booking) => Became::Booking(Box::new(self.view(request_id, booking))),
            Outcome::Cancellation(cancellation) => Became::Cancellation {
                refund_minor: cancellation
                    .passengers
                    .iter()
                    .map(|passenger| passenger.refund_minor)
                    .sum(),
                passengers: cancellation.passengers.len(),
            },
            Outcome::Rejection(rejection) => Became::Rejection {
                code: rejection.code.to_string(),
                message: rejection.message.to_string(),
            },
        })
    }

    fn view(&self, request_id: &str, booking: &Booking) -> BookingView {
        let (class, quota) = self.train_date.allotment_of(booking).unwrap_or_default();
        let passengers = booking.travellers.iter().map(|traveller| Passenger {
            index: traveller.index,
            name: traveller.name.to_string(),
            fare_minor: traveller.fare_minor,
            place: self.place(request_id, traveller),
        });
        BookingView {
            pnr: booking.pnr.to_string(),
            train_id: self.plan.service().train_id.to_string(),
            travel_date: self.travel_date.to_owned(),
            request_id: request_id.to_owned(),
            user_id: booking.user_id.to_string(),
            from_station: self.plan.boarding(booking.segment).code.to_string(),
            to_station: self.plan.alighting(booking.segment).code.to_string(),
            travel_class: class.to_owned(),
            quota: quota.to_owned(),
            passengers: passengers.collect(),
            currency: self.plan.service().currency.to_string(),
        }
    }

    fn place(&self, request_id: &str, traveller: &interlock_inventory::Traveller) -> PlaceView {
        match traveller.place {
            Place::Seat(seat) => match self.seats.get(usize::from(seat)) {
                Some(seat) => PlaceView::Confirmed {
                    coach: seat.coach.to_owned(),
                    seat_number: seat.number,
                    berth: berth(seat.berth),
                },
                // The seat is one of the train's: reading the ledger back has checked this.
                None => PlaceView::Cancelled,
            },
            Place::Waiting => {
                let known = self.positions.get(&(request_id, traveller.index)).copied();
                let answered = match traveller.answer {
                    Answer::Waiting { first, current } => (first, current),
                    Answer::Seat(_) => (0, 0),
                };
                let (first_position, current_position) = known.unwrap_or(answered);
                PlaceView::Waiting {
                    first_position,
                    current_position,
                }
            }
            Place::Cancelled(_) => PlaceView::Cancelled,
        }
    }
}

/// Returns the name that the schemas use.
fn berth(berth: Berth) -> &'static str {
    match berth {
        Berth::Lower => "LOWER",
        Berth::Middle => "MIDDLE",
        Berth::Upper => "UPPER",
        Berth::SideLower => "SIDE_LOWER",
        Berth::SideUpper => "SIDE_UPPER",
        Berth::Window => "WINDOW",
        Berth::Aisle => "AISLE",
    }
}
