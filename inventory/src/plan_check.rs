//! Checks plans. The rest of the crate relies on these conditions and does not check them again.

use std::collections::HashSet;

use chrono_tz::Tz;
use interlock_schemas::{Date, Fare, TrainService};

use crate::GENERAL;
use crate::key::{TRAVEL_DATE_MAX, date_text, is_train_id};
use crate::seats::LEGS_MAX;
use crate::text::text_problem;

/// Longest station code, class, quota, coach or layout name, in characters.
pub const CODE_CHARS_MAX: usize = 32;
/// Most timetables of a train.
pub const TIMETABLES_MAX: usize = 64;
/// Most coaches of a train.
pub const COACHES_MAX: usize = 100;
/// Most seats of a coach.
pub const COACH_SEATS_MAX: i32 = 500;
/// Latest time of day, in seconds: a run of thirty days.
pub const TIME_OF_DAY_MAX_S: i32 = 30 * 86_400;
/// Longest route, in metres: once around the Earth.
pub const DISTANCE_MAX_M: i64 = 40_000_000;
/// Largest amount of a fare table, in minor units; keeps all sums far from overflow.
pub const AMOUNT_MAX_MINOR: i64 = 1_000_000_000_000;
/// Largest surcharge or tax, in basis points: ten times the base.
pub const BASIS_POINTS_MAX: i32 = 100_000;

/// The reason why a plan is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plan of train `{train_id}`, {place}: {problem}")]
pub struct PlanError {
    /// The train.
    pub train_id: String,
    /// Path of the field, such as `route[3].code`.
    pub place: String,
    /// The error, and the expected value.
    pub problem: String,
}

/// Checks a plan, and returns its time zone.
pub(crate) fn check(service: &TrainService) -> Result<Tz, PlanError> {
    let check = Check { service };
    let zone = check.head()?;
    check.route()?;
    check.coaches()?;
    check.quotas()?;
    check.fares()?;
    check.refunds_and_caps()?;
    check.sale()?;
    Ok(zone)
}

struct Check<'a> {
    service: &'a TrainService,
}

type Checked = Result<(), PlanError>;

impl Check<'_> {
    fn require(&self, holds: bool, place: impl Into<String>, problem: impl Into<String>) -> Checked {
        if holds { Ok(()) } else { Err(self.error(place, problem)) }
    }

    fn error(&self, place: impl Into<String>, problem: impl Into<String>) -> PlanError {
        PlanError {
            train_id: self.service.train_id.to_string(),
            place: place.into(),
            problem: problem.into(),
        }
    }

    fn code(&self, code: &str, place: String) -> Checked {
        let fine = text_problem(code, CODE_CHARS_MAX).is_none() && !code.contains('|');
        self.require(
            fine,
            place,
            format!(
                "`{}` must have 1 to {CODE_CHARS_MAX} visible characters, none of them `|`",
                code.escape_debug()
            ),
        )
    }

    fn amount(&self, amount: i64, place: String) -> Checked {
        let problem = format!("{amount} must lie between 0 and {AMOUNT_MAX_MINOR} minor units");
        self.require((0..=AMOUNT_MAX_MINOR).contains(&amount), place, problem)
    }

    fn head(&self) -> Result<Tz, PlanError> {
        let service = self.service;
        self.require(
            is_train_id(&service.train_id),
            "train_id",
            "must match [A-Za-z0-9._-]{1,32}",
        )?;
        self.require(
            service.version >= 1,
            "version",
            format!("{} must be 1 or more", service.version),
        )?;
        let currency = service.currency.len() == 3 && service.currency.bytes().all(|b| b.is_ascii_uppercase());
        self.require(
            currency,
            "currency",
            format!("`{}` must be an ISO 4217 code, such as INR", service.currency),
        )?;
        self.dates(&service.running_dates, "running_dates")?;
        self.other_timetables()?;
        let unknown = |_| self.error("time_zone", format!("`{}` is no IANA time zone", service.time_zone));
        service.time_zone.parse().map_err(unknown)
    }

    fn dates(&self, dates: &[Date], place: &str) -> Checked {
        let ascend = dates.is_sorted_by(|a, b| a < b);
        self.require(ascend, place, "must ascend without repeats")?;
        let ends = [dates.first(), dates.last()];
        let in_range = ends.iter().flatten().all(|date| (0..=TRAVEL_DATE_MAX).contains(*date));
        self.require(in_range, place, "must lie between 1970-01-01 and 9999-12-31")
    }

    /// Checks the dates of the other timetables; the compiler checks their routes.
    fn other_timetables(&self) -> Checked {
        let others = &self.service.other_timetables;
        self.require(
            others.len() < TIMETABLES_MAX,
            "other_timetables",
            format!(
                "has {} beside the first; a train has up to {TIMETABLES_MAX}",
                others.len()
            ),
        )?;
        let mut taken: HashSet<Date> = self.service.running_dates.iter().copied().collect();
        for (i, timetable) in others.iter().enumerate() {
            let place = format!("other_timetables[{i}].running_dates");
            self.require(!timetable.running_dates.is_empty(), &place, "is empty")?;
            self.dates(&timetable.running_dates, &place)?;
            let twice = timetable.running_dates.iter().find(|date| !taken.insert(**date));
            let problem = twice.map(|date| format!("{} is in another timetable, too", date_text(*date)));
            self.require(problem.is_none(), place, problem.unwrap_or_default())?;
        }
        Ok(())
    }

    fn route(&self) -> Checked {
        let route = &self.service.route;
        let stops = route.len();
        self.require(
            (2..=LEGS_MAX + 1).contains(&stops),
            "route",
            format!("has {stops} stops; 2 to {} are possible", LEGS_MAX + 1),
        )?;
        let mut codes = HashSet::new();
        let (mut earliest_s, mut nearest_m) = (0, 0);
        for (i, stop) in route.iter().enumerate() {
            self.code(&stop.code, format!("route[{i}].code"))?;
            self.require(
                codes.insert(&stop.code),
                format!("route[{i}].code"),
                format!("`{}` comes twice", stop.code),
            )?;
            let in_order = earliest_s <= stop.arrival_s
                && stop.arrival_s <= stop.departure_s
                && stop.departure_s <= TIME_OF_DAY_MAX_S;
            let times = format!(
                "arrival {} and departure {} must not be before {earliest_s} nor after {TIME_OF_DAY_MAX_S}",
                stop.arrival_s, stop.departure_s
            );
            self.require(in_order, format!("route[{i}]"), times)?;
            let onward = (nearest_m..=DISTANCE_MAX_M).contains(&stop.distance_m);
            let distance = format!("{} must lie between {nearest_m} and {DISTANCE_MAX_M}", stop.distance_m);
            self.require(onward, format!("route[{i}].distance_m"), distance)?;
            (earliest_s, nearest_m) = (stop.departure_s, stop.distance_m);
        }
        Ok(())
    }

    fn coaches(&self) -> Checked {
        let mut layouts = HashSet::new();
        for (i, layout) in self.service.layouts.iter().enumerate() {
            self.code(&layout.name, format!("layouts[{i}].name"))?;
            self.require(
                layouts.insert(&layout.name),
                format!("layouts[{i}].name"),
                format!("`{}` comes twice", layout.name),
            )?;
            let seats = (1..=COACH_SEATS_MAX).contains(&layout.seats);
            self.require(
                seats,
                format!("layouts[{i}].seats"),
                format!("{} must lie between 1 and {COACH_SEATS_MAX}", layout.seats),
            )?;
            self.require(
                !layout.pattern.is_empty(),
                format!("layouts[{i}].pattern"),
                "must name the places of one bay",
            )?;
        }
        let count = self.service.coaches.len();
        self.require(
            (1..=COACHES_MAX).contains(&count),
            "coaches",
            format!("has {count}; 1 to {COACHES_MAX} are possible"),
        )?;
        let mut names = HashSet::new();
        for (i, coach) in self.service.coaches.iter().enumerate() {
            self.code(&coach.name, format!("coaches[{i}].name"))?;
            self.code(&coach.travel_class, format!("coaches[{i}].travel_class"))?;
            self.require(
                names.insert(&coach.name),
                format!("coaches[{i}].name"),
                format!("`{}` comes twice", coach.name),
            )?;
            let known = layouts.contains(&coach.layout);
            self.require(
                known,
                format!("coaches[{i}].layout"),
                format!("`{}` is no layout of the plan", coach.layout),
            )?;
        }
        Ok(())
    }

    fn quotas(&self) -> Checked {
        let mut named = HashSet::new();
        for (i, quota) in self.service.quotas.iter().enumerate() {
            self.code(&quota.quota, format!("quotas[{i}].quota"))?;
            self.require(
                quota.quota != GENERAL,
                format!("quotas[{i}].quota"),
                "GN is what no other quota takes; leave it out",
            )?;
            let first = named.insert((&quota.travel_class, &quota.quota));
            self.require(
                first,
                format!("quotas[{i}]"),
                format!("{} of {} comes twice", quota.quota, quota.travel_class),
            )?;
            self.require(
                quota.seats >= 0,
                format!("quotas[{i}].seats"),
                format!("{} must not be negative", quota.seats),
            )?;
            let (seats, taken) = (self.seats_of(&quota.travel_class), self.set_aside(&quota.travel_class));
            let problem = format!("the quotas of {} take {taken} seats of {seats}", quota.travel_class);
            self.require(taken <= seats && seats > 0, format!("quotas[{i}].seats"), problem)?;
        }
        Ok(())
    }

    fn seats_of(&self, class: &str) -> i64 {
        let coaches = self.service.coaches.iter().filter(|coach| coach.travel_class == class);
        let layouts =
            coaches.filter_map(|coach| self.service.layouts.iter().find(|layout| layout.name == coach.layout));
        layouts.map(|layout| i64::from(layout.seats)).sum()
    }

    fn set_aside(&self, class: &str) -> i64 {
        let quotas = self.service.quotas.iter().filter(|quota| quota.travel_class == class);
        quotas.map(|quota| i64::from(quota.seats)).sum()
    }

    fn fares(&self) -> Checked {
        let mut priced = HashSet::new();
        for (i, fare) in self.service.fares.iter().enumerate() {
            self.code(&fare.travel_class, format!("fares[{i}].travel_class"))?;
            let first = priced.insert(&fare.travel_class);
            self.require(
                first,
                format!("fares[{i}].travel_class"),
                format!("{} comes twice", fare.travel_class),
            )?;
            self.fare(fare, &format!("fares[{i}]"))?;
        }
        for (i, coach) in self.service.coaches.iter().enumerate() {
            let class = &coach.travel_class;
            self.require(
                priced.contains(class),
                format!("coaches[{i}].travel_class"),
                format!("{class} has no fare"),
            )?;
        }
        Ok(())
    }

    fn fare(&self, fare: &Fare, place: &str) -> Checked {
        self.require(
            !fare.slabs.is_empty(),
            format!("{place}.slabs"),
            "must have at least one slab",
        )?;
        let ascending = fare.slabs.is_sorted_by(|a, b| a.up_to_m < b.up_to_m);
        self.require(ascending, format!("{place}.slabs"), "must ascend by up_to_m")?;
        for (i, slab) in fare.slabs.iter().enumerate() {
            self.amount(slab.fare_minor, format!("{place}.slabs[{i}].fare_minor"))?;
        }
        for (amount, name) in [
            (fare.reservation_fee_minor, "reservation_fee_minor"),
            (fare.tatkal_min_minor, "tatkal_min_minor"),
            (fare.tatkal_max_minor, "tatkal_max_minor"),
            (fare.cancellation_flat_minor, "cancellation_flat_minor"),
            (fare.clerkage_minor, "clerkage_minor"),
        ] {
            self.amount(amount, format!("{place}.{name}"))?;
        }
        let bounds = fare.tatkal_min_minor <= fare.tatkal_max_minor;
        self.require(
            bounds,
            format!("{place}.tatkal_min_minor"),
            "must not exceed tatkal_max_minor",
        )?;
        for (share, name) in [(fare.tatkal_bp, "tatkal_bp"), (fare.tax_bp, "tax_bp")] {
            let problem = format!("{share} must lie between 0 and {BASIS_POINTS_MAX}");
            self.require(
                (0..=BASIS_POINTS_MAX).contains(&share),
                format!("{place}.{name}"),
                problem,
            )?;
        }
        Ok(())
    }

    fn refunds_and_caps(&self) -> Checked {
        let bands = &self.service.refund_bands;
        let descending = bands.is_sorted_by(|a, b| a.more_than_s > b.more_than_s);
        self.require(descending, "refund_bands", "must descend by more_than_s")?;
        let shares = bands.iter().all(|band| (0..=10_000).contains(&band.keep_bp));
        self.require(shares, "refund_bands", "keep_bp must lie between 0 and 10000")?;
        let mut capped = HashSet::new();
        for (i, cap) in self.service.waitlist_caps.iter().enumerate() {
            let first = capped.insert((&cap.travel_class, &cap.quota));
            self.require(
                first,
                format!("waitlist_caps[{i}]"),
                format!("{} of {} comes twice", cap.quota, cap.travel_class),
            )?;
            self.require(
                cap.passengers >= 0,
                format!("waitlist_caps[{i}].passengers"),
                "must not be negative",
            )?;
        }
        Ok(())
    }

    fn sale(&self) -> Checked {
        let mut quotas = HashSet::new();
        for (i, window) in self.service.sale.iter().enumerate() {
            self.require(
                quotas.insert(&window.quota),
                format!("sale[{i}].quota"),
                format!("`{}` comes twice", window.quota),
            )?;
            let days = (0..=3_650).contains(&window.opens_days_before);
            self.require(
                days,
                format!("sale[{i}].opens_days_before"),
                "must lie between 0 and 3650 days",
            )?;
            let time = (0..=TIME_OF_DAY_MAX_S).contains(&window.opens_at_s);
            self.require(
                time,
                format!("sale[{i}].opens_at_s"),
                format!("must lie between 0 and {TIME_OF_DAY_MAX_S} seconds"),
            )?;
        }
        Ok(())
    }
}
