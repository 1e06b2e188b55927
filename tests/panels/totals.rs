//! Counts sales from the events themselves, as the expected side of every comparison.
//!
//! It shares no code with the window queries on purpose.

use std::collections::BTreeMap;

use interlock_schemas::{Event, EventKind, Minor};

/// Money of one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// Collected for accepted bookings.
    pub collected_minor: Minor,
    /// Paid back, positive.
    pub refunded_minor: Minor,
    /// Bookings accepted.
    pub bookings: i64,
    /// Passengers of these.
    pub passengers: i64,
}

/// All sums that the dashboards show. Count them with [`Totals::add`] from the event topics, read to their ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// By currency.
    pub money: BTreeMap<String, Money>,
    /// Train-dates opened.
    pub train_dates: i64,
    /// Seats of these.
    pub seats: i64,
    /// Seats times the length of the route.
    pub seat_metres_offered: i64,
    /// Passengers with a seat.
    pub seats_sold: i64,
    /// Passengers with a seat times the length of their trip.
    pub seat_metres_sold: i64,
    /// Passengers who wait.
    pub waiting: i64,
    /// Passengers who got a seat at once.
    pub confirmed: i64,
    /// Passengers who got one from the waitlist.
    pub promoted: i64,
    /// Passengers who gave one back.
    pub released: i64,
    /// Passengers who began to wait.
    pub waitlisted: i64,
    /// Passengers whose request was refused.
    pub rejected: i64,
    /// Requests that were refused.
    pub refused_requests: i64,
}

impl Totals {
    /// Counts an event. A repeated answer counts for nothing.
    pub fn add(&mut self, event: &Event) {
        let header = event.header();
        if header.replay {
            return;
        }
        let is_answer = header.kind == EventKind::Answer;
        if !header.currency.is_empty()
            && matches!(event, Event::Confirmed(_) | Event::Waitlisted(_) | Event::Cancelled(_))
        {
            let money = self.money.entry(header.currency.to_string()).or_default();
            money.collected_minor += header.amount_minor.max(0);
            money.refunded_minor += (-header.amount_minor).max(0);
            let accepted: Vec<i32> = match event {
                Event::Confirmed(event) => event.passengers.iter().map(|passenger| passenger.index).collect(),
                Event::Waitlisted(event) => event.passengers.iter().map(|passenger| passenger.index).collect(),
                _ => vec![],
            };
            if is_answer {
                money.passengers += accepted.len() as i64;
                money.bookings += i64::from(accepted.contains(&0));
            }
        }
        match event {
            Event::Confirmed(event) => {
                let count = event.passengers.len() as i64;
                self.seats_sold += count;
                self.seat_metres_sold += count * event.distance_m;
                if is_answer {
                    self.confirmed += count;
                } else {
                    self.promoted += count;
                    self.waiting -= count;
                }
            }
            Event::Waitlisted(event) if is_answer => {
                self.waitlisted += event.passengers.len() as i64;
                self.waiting += event.passengers.len() as i64;
            }
            Event::Waitlisted(_) => {}
            Event::Cancelled(event) => {
                for passenger in event.passengers.iter().filter(|passenger| !passenger.already_cancelled) {
                    if passenger.was_confirmed {
                        self.released += 1;
                        self.seats_sold -= 1;
                        self.seat_metres_sold -= event.distance_m;
                    } else {
                        self.waiting -= 1;
                    }
                }
            }
            Event::Rejected(event) => {
                self.rejected += i64::from(event.passenger_count);
                self.refused_requests += 1;
            }
            Event::Opened(event) => {
                let plan = &event.plan;
                let of_coach = |layout: &str| {
                    plan.layouts
                        .iter()
                        .find(|one| one.name == layout)
                        .map_or(0, |one| one.seats)
                };
                let seats: i64 = plan
                    .coaches
                    .iter()
                    .map(|coach| i64::from(of_coach(&coach.layout)))
                    .sum();
                self.train_dates += 1;
                self.seats += seats;
                self.seat_metres_offered += seats * plan.route.last().map_or(0, |stop| stop.distance_m);
            }
        }
    }
}

impl<'a> Extend<&'a Event> for Totals {
    fn extend<I: IntoIterator<Item = &'a Event>>(&mut self, events: I) {
        events.into_iter().for_each(|event| self.add(event));
    }
}
