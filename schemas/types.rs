//! The records of the public contract as Rust types.
//!
//! Each struct mirrors one `.avsc` file field by field; `codec` writes and reads them. The fields that every event of a
//! ledger shares are one struct here ([`EventHeader`]) and flat fields at the head of each event's schema.
//!
//! Units: money is `i64` in minor units (paise, grosz) of an ISO 4217 currency; distances are metres; instants are
//! milliseconds since the Unix epoch; dates are days since the Unix epoch; times of day are seconds since midnight
//! **of the train's service day, in the train's time zone**, and may exceed 86,400 (GTFS writes 24:40:00).

mod timetable;

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, SmolStrBuilder};

pub use timetable::Timetable;

/// A text of a record. Up to 23 bytes are stored in place; longer texts are shared, so that events and state can hold a
/// command's texts without copying them.
pub type Text = SmolStr;
/// Days since 1970-01-01.
pub type Date = i32;
/// Milliseconds since the Unix epoch.
pub type TimestampMs = i64;
/// Minor units of a currency.
pub type Minor = i64;

/// The kind of seat or berth that a traveller prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BerthPreference {
    /// No preference.
    #[default]
    None,
    /// Lower berth.
    Lower,
    /// Middle berth.
    Middle,
    /// Upper berth.
    Upper,
    /// Side lower berth.
    SideLower,
    /// Side upper berth.
    SideUpper,
    /// Window seat of a chair car.
    Window,
    /// Aisle seat of a chair car.
    Aisle,
}

/// The kind of a place in a coach. `Middle` serves both berth coaches and chair cars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Berth {
    /// Lower berth.
    Lower,
    /// Middle berth, or the middle seat of a chair car.
    Middle,
    /// Upper berth.
    Upper,
    /// Side lower berth.
    SideLower,
    /// Side upper berth.
    SideUpper,
    /// Window seat.
    Window,
    /// Aisle seat.
    Aisle,
}

/// One traveller of a [`BookingRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passenger {
    /// Name as on the ticket.
    pub name: Text,
    /// Age in years.
    pub age: i32,
    /// The preferred berth.
    pub berth_preference: BerthPreference,
    /// The preference is a condition: no ticket rather than another berth (R7).
    pub preference_is_hard: bool,
}

/// A request to book: a command on `booking-requests`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct BookingRequest {
    /// The client's idempotency key, unique within the train-date (R3).
    pub request_id: Text,
    pub train_id: Text,
    /// The date at the train's origin.
    pub travel_date: Date,
    /// The user who sends the request.
    pub user_id: Text,
    /// Station code where the segment begins.
    pub from_station: Text,
    /// Station code where the segment ends.
    pub to_station: Text,
    /// Travel class, such as `SL`.
    pub travel_class: Text,
    /// Quota, such as `GN`.
    pub quota: Text,
    /// The travellers, in the order in which they are served.
    pub passengers: Vec<Passenger>,
    /// Confirm as many passengers as fit; the rest wait (R12).
    pub partial_confirmation: bool,
    /// The time of the request as claimed by the client: used for latency only, never for decisions.
    pub requested_at: TimestampMs,
}

/// A request to cancel a booking, whole or in part: a command on `booking-requests`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct CancellationRequest {
    /// The client's idempotency key, unique within the train-date (R3).
    pub request_id: Text,
    pub train_id: Text,
    /// The date at the train's origin.
    pub travel_date: Date,
    /// `request_id` of the booking to cancel.
    pub booking_request_id: Text,
    /// Indices into the booking's passengers; none means all.
    pub passengers: Vec<i32>,
    /// The user who sends the request; must be the user who booked.
    pub user_id: Text,
    /// The time of the request as claimed by the client: used for latency only.
    pub requested_at: TimestampMs,
}

/// A record of `booking-requests`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A booking.
    Book(BookingRequest),
    /// A cancellation.
    Cancel(CancellationRequest),
}

/// The reason for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// The answer to a command.
    Answer,
    /// A waiter got a seat because of another passenger's command.
    Promotion,
    /// Waiters moved up because of another passenger's command.
    Position,
    /// A train-date was opened with the plan that it is sold by.
    Opened,
}

/// The fields that every event of a ledger shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct EventHeader {
    /// The ledger: the partition of `booking-requests`.
    pub ledger: i32,
    /// Number of the event within its ledger, from 1, without gap or repeat (I4).
    pub sequence: i64,
    /// Offset of the command that caused the event.
    pub source_offset: i64,
    /// The reason for the event.
    pub kind: EventKind,
    /// A repeated answer to a repeated request: no money moves and no window counts it.
    pub replay: bool,
    /// Token of the ledger acquisition that decided the command.
    pub token: Text,
    /// `request_id` of the command that caused the event.
    pub cause_request_id: Text,
    /// `request_id` of the booking concerned; in a POSITION event, of the command that caused it.
    pub request_id: Text,
    /// In ANSWER events the digest of the command's body, in lower-case hex (R3); empty in others.
    pub request_digest: Text,
    /// PNR of the booking; empty if there is none.
    pub pnr: Text,
    pub train_id: Text,
    /// The date at the train's origin.
    pub travel_date: Date,
    /// Travel class; empty if the event concerns a whole train-date.
    pub travel_class: Text,
    /// Quota; empty if the event concerns a whole train-date.
    pub quota: Text,
    /// The user who booked.
    pub user_id: Text,
    /// Station code where the segment begins.
    pub from_station: Text,
    /// Station code where the segment ends.
    pub to_station: Text,
    /// Version of the plan that the command was decided by; 0 if there was none.
    pub plan_version: i64,
    /// Time of the command: its Kafka record's timestamp.
    pub event_time: TimestampMs,
    /// Amount collected (+) or refunded (−) by this event.
    pub amount_minor: Minor,
    /// ISO 4217 code; empty if there is no plan.
    pub currency: Text,
}

/// The degree to which the passengers of a booking sit together (R7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Tier {
    /// All passengers in one bay; also a single passenger.
    SameBay,
    /// All passengers in one coach.
    SameCoach,
    /// Passengers in several coaches.
    Split,
}

/// A passenger with a seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatedPassenger {
    /// Index into the request's passengers.
    pub index: i32,
    /// Name as on the ticket.
    pub name: Text,
    /// Age in years.
    pub age: i32,
    /// Coach, such as `S3`.
    pub coach: Text,
    /// Number of the seat in its coach, from 1.
    pub seat_number: i32,
    /// Kind of the seat.
    pub berth: Berth,
    /// Amount that this passenger paid (also at a promotion, when no money moves).
    pub fare_minor: Minor,
}

/// Passengers got seats: the answer to a booking, or a promotion. Topic `confirmed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookingConfirmed {
    /// The shared fields.
    pub header: EventHeader,
    /// The passengers and their seats.
    pub passengers: Vec<SeatedPassenger>,
    /// The degree to which the passengers sit together.
    pub tier: Tier,
    /// Length of the segment, in metres.
    pub distance_m: i64,
    /// Time at which the train leaves the boarding stop.
    pub departure_time: TimestampMs,
    /// Time at which the train arrives at the last stop of the segment.
    pub arrival_time: TimestampMs,
}

/// A passenger who waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingPassenger {
    /// Index into the request's passengers.
    pub index: i32,
    /// Name as on the ticket.
    pub name: Text,
    /// Age in years.
    pub age: i32,
    /// The preferred berth, kept for the promotion.
    pub berth_preference: BerthPreference,
    /// Amount that this passenger paid in advance (R18).
    pub fare_minor: Minor,
    /// Position ever issued on this list, never reused (R15).
    pub first_position: i32,
    /// Place among the waiting passengers at this moment, from 1.
    pub current_position: i32,
}

/// A waiter's new place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionMove {
    /// The waiter's PNR.
    pub pnr: Text,
    /// `request_id` of the waiter's booking.
    pub request_id: Text,
    /// Index into the request's passengers.
    pub index: i32,
    /// First position; it never changes.
    pub first_position: i32,
    /// The new place, from 1.
    pub current_position: i32,
}

/// Passengers wait (kind ANSWER), or a list moved up (kind POSITION). Topic `waitlist`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookingWaitlisted {
    /// The shared fields.
    pub header: EventHeader,
    /// The list, such as `GNWL`; with train-date, class and quota it names the waitlist (R15).
    pub list: Text,
    /// ANSWER: the waiting passengers, in order.
    pub passengers: Vec<WaitingPassenger>,
    /// ANSWER: each passenger waits separately instead of all together (R12).
    pub partial_confirmation: bool,
    /// ANSWER: length of the segment, in metres.
    pub distance_m: i64,
    /// POSITION: every waiter whose place changed, in list order.
    pub moves: Vec<PositionMove>,
}

/// A passenger whose seat or waitlist place was given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelledPassenger {
    /// Index into the request's passengers.
    pub index: i32,
    /// The coach given back; empty for a waiter.
    pub coach: Text,
    /// The seat given back; 0 for a waiter.
    pub seat_number: i32,
    /// True if the passenger had a seat; otherwise the passenger waited.
    pub was_confirmed: bool,
    /// True if the passenger was cancelled before; if so, this event frees and refunds nothing.
    pub already_cancelled: bool,
    /// Amount refunded, never negative.
    pub refund_minor: Minor,
}

/// Passengers were cancelled. Topic `cancelled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct BookingCancelled {
    /// The shared fields; `amount_minor` is minus the sum of the refunds.
    pub header: EventHeader,
    pub passengers: Vec<CancelledPassenger>,
    /// Length of the segment, in metres.
    pub distance_m: i64,
}

/// A command was refused; nothing changed. Topic `rejected`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookingRejected {
    /// The shared fields.
    pub header: EventHeader,
    /// The reason, such as `WAITLIST_FULL`.
    pub code: Text,
    /// A sentence that says what to do.
    pub message: Text,
    /// Number of passengers in the refused request.
    pub passenger_count: i32,
}

/// A train-date was opened with this plan. Topic `train-dates`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainDateOpened {
    /// The shared fields.
    pub header: EventHeader,
    /// The plan, without its running dates.
    pub plan: Box<TrainService>,
}

/// An event of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Topic `confirmed`.
    Confirmed(BookingConfirmed),
    /// Topic `waitlist`.
    Waitlisted(BookingWaitlisted),
    /// Topic `cancelled`.
    Cancelled(BookingCancelled),
    /// Topic `rejected`.
    Rejected(BookingRejected),
    /// Topic `train-dates`.
    Opened(TrainDateOpened),
}

impl Event {
    /// The shared fields.
    pub fn header(&self) -> &EventHeader {
        match self {
            Event::Confirmed(e) => &e.header,
            Event::Waitlisted(e) => &e.header,
            Event::Cancelled(e) => &e.header,
            Event::Rejected(e) => &e.header,
            Event::Opened(e) => &e.header,
        }
    }

    /// The shared fields, to be filled in.
    pub fn header_mut(&mut self) -> &mut EventHeader {
        match self {
            Event::Confirmed(e) => &mut e.header,
            Event::Waitlisted(e) => &mut e.header,
            Event::Cancelled(e) => &mut e.header,
            Event::Rejected(e) => &mut e.header,
            Event::Opened(e) => &mut e.header,
        }
    }
}

/// A stop of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Station code, unique on the route.
    pub code: Text,
    /// Station name.
    pub name: Text,
    /// Seconds of the service day (GTFS: from noon minus 12 h).
    pub arrival_s: i32,
    /// Seconds of the service day (GTFS: from noon minus 12 h).
    pub departure_s: i32,
    /// Metres from the origin.
    pub distance_m: i64,
}

/// The arrangement of places in a coach: `seats` places whose kinds repeat `pattern`; each repetition is a bay (R7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Name by which coaches refer to it.
    pub name: Text,
    /// Places in a coach.
    pub seats: i32,
    /// Kinds of the places of one bay, by position.
    pub pattern: Vec<Berth>,
}

/// A coach in the order of the train.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Coach {
    /// Name, such as `S3`.
    pub name: Text,
    pub travel_class: Text,
    /// Name of its [`Layout`].
    pub layout: Text,
}

/// Seats of a class that are set aside (R11). `GN` is the rest and is never listed with seats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Quota {
    /// Quota, such as `TQ`.
    pub quota: Text,
    pub travel_class: Text,
    /// Number of seats; they are taken from the last seat of the class backwards, in the order of the list.
    pub seats: i32,
}

/// A step of a fare by distance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FareSlab {
    /// Upper bound of the slab in metres, inclusive; the last slab also covers longer distances.
    pub up_to_m: i64,
    /// Base fare of one passenger.
    pub fare_minor: Minor,
}

/// Fares (R23) and refunds (R21) of one passenger of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Fare {
    pub travel_class: Text,
    /// Base fare by distance, ascending.
    pub slabs: Vec<FareSlab>,
    /// Added to every fare.
    pub reservation_fee_minor: Minor,
    /// Tatkal surcharge on the base fare, in basis points, for quota TQ.
    pub tatkal_bp: i32,
    /// Lower bound of the surcharge.
    pub tatkal_min_minor: Minor,
    /// Upper bound of the surcharge.
    pub tatkal_max_minor: Minor,
    /// Tax on the sum of the above, in basis points.
    pub tax_bp: i32,
    /// Flat cancellation fee.
    pub cancellation_flat_minor: Minor,
    /// Amount kept when a waiting passenger cancels.
    pub clerkage_minor: Minor,
}

/// A step of the refund scale (R21): applies where the time to departure is more than `more_than_s`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundBand {
    /// Exclusive lower bound of the time left to departure at the boarding stop, in seconds.
    pub more_than_s: i64,
    /// Share kept, in basis points of the amount paid, and at least the flat fee; 10,000 keeps all.
    pub keep_bp: i32,
}

/// The cap of waitlists (R14).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct WaitlistCap {
    pub travel_class: Text,
    pub quota: Text,
    /// Maximum number of waiting passengers.
    pub passengers: i32,
}

/// The rule by which a seat is chosen among equals (R7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Allocation {
    /// The smallest free gap around the segment.
    #[default]
    BestFit,
    /// The lowest seat that fits.
    FirstFit,
}

/// The order in which a waitlist is served (R16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PromotionPolicy {
    /// In order. An entry that does not fit keeps its place, and the next one is tried.
    #[default]
    FifoSkip,
    /// An entry is served only if earlier unserved entries keep enough seats on each of its legs.
    LegStrict,
}

/// The period in which a train-date is on sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaleWindow {
    /// Quota that the window applies to; empty: every quota without a window of its own.
    pub quota: Text,
    /// Days before the origin date on which the sale opens.
    pub opens_days_before: i32,
    /// Time of that day, in seconds, in the train's time zone.
    pub opens_at_s: i32,
}

/// The plan of a train: record of `train-services`, and part of [`TrainDateOpened`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainService {
    /// The train, `[A-Za-z0-9._-]{1,32}`.
    pub train_id: Text,
    /// Name for display.
    pub name: Text,
    /// Grows with each change of the plan.
    pub version: i64,
    /// IANA time zone of all times of day.
    pub time_zone: Text,
    /// Origin dates on which it runs, ascending.
    pub running_dates: Vec<Date>,
    /// Ordered stops, 2 to 128.
    pub route: Vec<Stop>,
    /// Further timetables, for dates of their own.
    pub other_timetables: Vec<Timetable>,
    /// The layouts that coaches refer to.
    pub layouts: Vec<Layout>,
    /// Coaches in order.
    pub coaches: Vec<Coach>,
    /// Quotas other than GN.
    pub quotas: Vec<Quota>,
    /// One fare per class.
    pub fares: Vec<Fare>,
    /// Refund scale, descending by `more_than_s`; nothing is refunded later than the last band.
    pub refund_bands: Vec<RefundBand>,
    /// Caps that differ from the default.
    pub waitlist_caps: Vec<WaitlistCap>,
    /// The periods in which the train is on sale.
    pub sale: Vec<SaleWindow>,
    /// Choice of seat.
    pub allocation: Allocation,
    /// Order of promotion.
    pub promotion: PromotionPolicy,
    /// ISO 4217 code.
    pub currency: Text,
}

/// Returns `"{train_id}|{travel_date}"`, the key of every record about a train-date, such as `12951|2026-12-01`.
pub fn train_date_key(train_id: &str, travel_date: Date) -> Text {
    let (year, month, day) = civil_from_days(travel_date);
    // Formatted by hand, because this runs for every record.
    let Ok(year @ 0..=9_999) = u32::try_from(year) else {
        return format!("{train_id}|{year:04}-{month:02}-{day:02}").into();
    };
    let mut date = *b"|0000-00-00";
    for (end, mut number, digits) in [(5, year, 4), (8, month, 2), (11, day, 2)] {
        for digit in date[end - digits..end].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    let mut key = SmolStrBuilder::new();
    key.push_str(train_id);
    key.push_str(std::str::from_utf8(&date).unwrap_or_default());
    key.finish()
}

/// Converts a day number to year, month and day (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub fn civil_from_days(days: Date) -> (i32, u32, u32) {
    let z = i64::from(days) + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    let year = (yoe + era * 400 + i64::from(month <= 2)) as i32;
    (year, month, day)
}
