//! Facts that the gateway keeps from the events because no ledger holds them.
//!
//! Seats, waitlists and bookings are *not* here: the gateway reads them from the ledgers at each call. Constants bound
//! everything in the view except the plans, of which there is one per train.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use interlock_inventory::{Plan, PlanError, Pnr};
use interlock_schemas::{Event, EventKind, TrainService, train_date_key};
use rustc_hash::FxHashMap;
use serde::Serialize;

/// Most bookings whose train-date is remembered, at about 60 bytes each; the oldest are forgotten.
const BOOKINGS_MAX: usize = 4_000_000;
/// Minutes of revenue kept.
const MINUTES_MAX: usize = 60;
/// Seconds of throughput kept.
const SECONDS_MAX: usize = 60;

/// The gateway's memory of plans and events.
#[derive(Debug, Default)]
pub(crate) struct View {
    plans: BTreeMap<String, Arc<Plan>>,
    /// The train-date of each booking, as an index into `train_dates`.
    bookings: FxHashMap<Pnr, u32>,
    /// The same bookings, oldest first.
    order: VecDeque<Pnr>,
    train_dates: Vec<Arc<str>>,
    indices: FxHashMap<Arc<str>, u32>,
    sales: Sales,
}

/// Figures of the sale. Times are the timestamps of the requests in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sales {
    /// Requests by outcome since the first event kept.
    pub totals: Totals,
    /// Amounts collected (+) and refunded (−) in the last minutes that had any, by currency, in minor units. Keys are
    /// seconds since 1970.
    pub revenue_by_minute: BTreeMap<i64, BTreeMap<String, i64>>,
    /// Decided requests by the second in which they were made, for the last seconds that had any. Keys are seconds
    /// since 1970.
    pub decided_by_second: BTreeMap<i64, u64>,
}

/// Requests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    /// Bookings that got seats at once.
    pub confirmed: u64,
    /// Bookings that were put on a waitlist.
    pub waitlisted: u64,
    /// Waiters who got seats later.
    pub promoted: u64,
    /// Cancellations.
    pub cancelled: u64,
    /// Refused requests.
    pub rejected: u64,
    /// Repeated requests, answered again.
    pub replayed: u64,
}

impl View {
    /// Sets the plan of a train, replacing an earlier one.
    pub(crate) fn plan(&mut self, service: TrainService) -> Result<(), PlanError> {
        let plan = Plan::compile(service)?;
        self.plans.insert(plan.service().train_id.to_string(), Arc::new(plan));
        Ok(())
    }

    /// Removes the plan of a train.
    pub(crate) fn forget_plan(&mut self, train_id: &str) {
        self.plans.remove(train_id);
    }

    /// Returns the plan of a train. Open train-dates keep the plan that they were opened with.
    pub(crate) fn plan_of(&self, train_id: &str) -> Option<Arc<Plan>> {
        self.plans.get(train_id).cloned()
    }

    /// Iterates over all plans, ordered by train.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &Arc<Plan>> {
        self.plans.values()
    }

    /// Returns the key of the train-date of a booking.
    pub(crate) fn train_date_of(&self, pnr: Pnr) -> Option<Arc<str>> {
        let index = self.bookings.get(&pnr)?;
        self.train_dates.get(*index as usize).cloned()
    }

    /// Returns the figures of the sale.
    pub(crate) fn sales(&self) -> &Sales {
        &self.sales
    }

    /// Applies an event. Returns the key of the train-date that it changed, if any.
    pub(crate) fn event(&mut self, event: &Event) -> Option<Arc<str>> {
        let header = event.header();
        let totals = &mut self.sales.totals;
        if header.replay {
            totals.replayed += 1;
            return None;
        }
        let is_answer = header.kind == EventKind::Answer;
        match event {
            Event::Confirmed(_) if is_answer => totals.confirmed += 1,
            Event::Confirmed(_) => totals.promoted += 1,
            Event::Waitlisted(_) if is_answer => totals.waitlisted += 1,
            Event::Cancelled(_) => totals.cancelled += 1,
            Event::Rejected(_) => totals.rejected += 1,
            Event::Waitlisted(_) | Event::Opened(_) => {}
        }
        let second = header.event_time.div_euclid(1_000);
        if is_answer {
            *self.sales.decided_by_second.entry(second).or_default() += 1;
            keep_last(&mut self.sales.decided_by_second, SECONDS_MAX);
        }
        if header.amount_minor != 0 {
            let minute = self
                .sales
                .revenue_by_minute
                .entry(second - second.rem_euclid(60))
                .or_default();
            *minute.entry(header.currency.to_string()).or_default() += header.amount_minor;
            keep_last(&mut self.sales.revenue_by_minute, MINUTES_MAX);
        }
        let train_date = self.train_date(&train_date_key(&header.train_id, header.travel_date));
        if let (true, Some(pnr)) = (is_answer, Pnr::parse(&header.pnr)) {
            self.booking(pnr, train_date);
        }
        self.train_dates.get(train_date as usize).cloned()
    }

    fn booking(&mut self, pnr: Pnr, train_date: u32) {
        if self.bookings.insert(pnr, train_date).is_none() {
            self.order.push_back(pnr);
        }
        if self.order.len() > BOOKINGS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.bookings.remove(&oldest);
        }
    }

    fn train_date(&mut self, key: &str) -> u32 {
        if let Some(index) = self.indices.get(key) {
            return *index;
        }
        let (index, key) = (self.train_dates.len() as u32, Arc::<str>::from(key));
        self.train_dates.push(Arc::clone(&key));
        self.indices.insert(key, index);
        index
    }
}

fn keep_last<V>(map: &mut BTreeMap<i64, V>, max: usize) {
    while map.len() > max {
        map.pop_first();
    }
}
