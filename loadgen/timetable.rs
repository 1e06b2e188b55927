//! Plans as a load sees them: what can be asked for, and how much of it there is.

use interlock_schemas::{Berth, BerthPreference, Date, Stop, Text, TrainService};

/// The quota that every class has, and the one that opens the day before.
const GENERAL: &str = "GN";
const TATKAL: &str = "TQ";
/// Waiting passengers for each seat where the plan says nothing (R14; the air-conditioned classes have twice that, but
/// the forecast that uses it may err on the low side).
const WAITERS_PER_SEAT: f64 = 0.3;

/// Returns the plans without the dates before `first`, and without trains that then have none: a load must not ask for
/// trains that have left. Where the first timetable has no date left, the next one takes its place.
pub fn running_from(plans: &[TrainService], first: Date) -> Vec<TrainService> {
    let later = plans.iter().filter_map(|plan| {
        let mut plan = plan.clone();
        plan.running_dates.retain(|date| *date >= first);
        for other in &mut plan.other_timetables {
            other.running_dates.retain(|date| *date >= first);
        }
        plan.other_timetables.retain(|other| !other.running_dates.is_empty());
        if plan.running_dates.is_empty() {
            let next = (!plan.other_timetables.is_empty()).then(|| plan.other_timetables.remove(0))?;
            (plan.running_dates, plan.route) = (next.running_dates, next.route);
        }
        Some(plan)
    });
    later.collect()
}

/// A train that can be asked for.
#[derive(Clone, Debug)]
pub(crate) struct Train {
    pub(crate) id: Text,
    pub(crate) dates: Vec<Date>,
    pub(crate) stops: Vec<Text>,
    pub(crate) pools: Vec<Pool>,
    /// Running sums of the shares of the pools in the requests.
    pub(crate) pool_sums: Vec<f64>,
}

/// The seats sold under one class and quota.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) class: Text,
    pub(crate) quota: Text,
    pub(crate) seats: f64,
    /// Passengers who may wait.
    pub(crate) waiters: f64,
    /// Kinds of berth that can be wished for, as often as there are.
    pub(crate) wishes: Vec<BerthPreference>,
}

impl Pool {
    pub(crate) fn is_tatkal(&self) -> bool {
        self.quota == TATKAL
    }
}

impl Train {
    /// Returns a train for each timetable of which something can be sold: dates, seats, and at least two stops.
    ///
    /// `tatkal` is the share of requests for TQ; none: as its share of the seats.
    pub(crate) fn of_plan(plan: &TrainService, tatkal: Option<f64>) -> impl Iterator<Item = Train> {
        let timetables = plan.timetables();
        timetables.filter_map(move |(dates, route)| Train::new(plan, dates, route, tatkal))
    }

    fn new(plan: &TrainService, dates: &[Date], route: &[Stop], tatkal: Option<f64>) -> Option<Train> {
        let pools = pools(plan);
        if dates.is_empty() || route.len() < 2 || pools.is_empty() {
            return None;
        }
        let seats = |wanted: bool| -> f64 {
            pools
                .iter()
                .filter(|pool| pool.is_tatkal() == wanted)
                .map(|pool| pool.seats)
                .sum()
        };
        let (tatkal_seats, other_seats) = (seats(true), seats(false));
        let tatkal_share = match tatkal {
            Some(share) if tatkal_seats > 0.0 && other_seats > 0.0 => share,
            _ => tatkal_seats / (tatkal_seats + other_seats),
        };
        let shares = pools.iter().map(|pool| match pool.is_tatkal() {
            true => tatkal_share * pool.seats / tatkal_seats,
            false => (1.0 - tatkal_share) * pool.seats / other_seats,
        });
        Some(Train {
            id: plan.train_id.clone(),
            dates: dates.to_vec(),
            stops: route.iter().map(|stop| stop.code.clone()).collect(),
            pool_sums: interlock_random::running_sums(shares),
            pools,
        })
    }

    pub(crate) fn has_tatkal(&self) -> bool {
        self.pools.iter().any(Pool::is_tatkal)
    }

    /// Pools with their shares of the train's requests, without those of share 0.
    pub(crate) fn wanted_pools(&self) -> impl Iterator<Item = (&Pool, f64)> {
        let shares = self.pool_sums.iter().scan(0.0, |before, sum| {
            let share = sum - *before;
            *before = *sum;
            Some(share)
        });
        self.pools.iter().zip(shares).filter(|(_, share)| *share > 0.0)
    }

    /// Seats on one date that are asked for at all.
    pub(crate) fn wanted_seats(&self) -> f64 {
        self.wanted_pools().map(|(pool, _)| pool.seats).sum()
    }
}

fn pools(plan: &TrainService) -> Vec<Pool> {
    let mut classes: Vec<&str> = plan.coaches.iter().map(|coach| coach.travel_class.as_str()).collect();
    classes.sort_unstable();
    classes.dedup();
    let mut pools = Vec::new();
    for class in classes {
        let layouts: Vec<_> = plan
            .coaches
            .iter()
            .filter(|coach| coach.travel_class == class)
            .filter_map(|coach| plan.layouts.iter().find(|layout| layout.name == coach.layout))
            .collect();
        let wishes: Vec<_> = layouts
            .iter()
            .flat_map(|layout| &layout.pattern)
            .map(|berth| wish_for(*berth))
            .collect();
        let seats: i32 = layouts.iter().map(|layout| layout.seats).sum();
        let quotas: Vec<_> = plan.quotas.iter().filter(|quota| quota.travel_class == class).collect();
        let set_aside: i32 = quotas.iter().map(|quota| quota.seats).sum();
        let named = quotas.iter().map(|quota| (quota.quota.as_str(), quota.seats));
        let sold = std::iter::once((GENERAL, seats - set_aside)).chain(named);
        pools.extend(sold.filter(|(_, seats)| *seats > 0).map(|(quota, seats)| Pool {
            class: class.into(),
            quota: quota.into(),
            seats: f64::from(seats),
            waiters: waiters(plan, class, quota, seats),
            wishes: wishes.clone(),
        }));
    }
    pools
}

fn waiters(plan: &TrainService, class: &str, quota: &str, seats: i32) -> f64 {
    let cap = plan
        .waitlist_caps
        .iter()
        .find(|cap| cap.travel_class == class && cap.quota == quota);
    cap.map_or(f64::from(seats) * WAITERS_PER_SEAT, |cap| f64::from(cap.passengers))
}

fn wish_for(berth: Berth) -> BerthPreference {
    match berth {
        Berth::Lower => BerthPreference::Lower,
        Berth::Middle => BerthPreference::Middle,
        Berth::Upper => BerthPreference::Upper,
        Berth::SideLower => BerthPreference::SideLower,
        Berth::SideUpper => BerthPreference::SideUpper,
        Berth::Window => BerthPreference::Window,
        Berth::Aisle => BerthPreference::Aisle,
    }
}
