//! The n-th booking as a pure function of seed and number, so that a repetition or a cancellation, long after, needs
//! nothing but the number.

use interlock_random::{Random, running_sums};
use interlock_schemas::{BerthPreference, BookingRequest, CancellationRequest, Date, Passenger, Text};

use crate::identity::{self, Request};
use crate::profile::{Profile, Segments};
use crate::spread::Spreading;
use crate::timetable::{Pool, Train};

/// Most passengers of a booking in TQ (R12).
const TATKAL_PARTY_MAX: usize = 4;
/// One more than any booking may have.
const PARTY_TOO_LARGE: usize = 7;
/// A station and a class that no train has.
const NOWHERE: &str = "NOWHERE";
/// Streams of random numbers apart from the bookings' own.
const CANCELLATION_STREAM: u64 = 1 << 63;

/// Draws bookings.
#[derive(Clone, Debug)]
pub(crate) struct Booker {
    seed: u64,
    profile: Profile,
    trains: Vec<Train>,
    spreading: Spreading,
    party_sums: Vec<f64>,
    users: u64,
}

/// The choices of one booking.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) train: usize,
    /// Which of the train's dates.
    pub(crate) date: usize,
    pub(crate) pool: usize,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) party: usize,
    pub(crate) fault: Option<Fault>,
    random: Random,
}

/// A broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    UnknownStation,
    OutOfOrder,
    PartyTooLarge,
    UnknownClass,
}

impl Booker {
    /// `trains` are ranked; `requests` only sizes the population of users.
    pub(crate) fn new(profile: &Profile, trains: Vec<Train>, spreading: Spreading, requests: u64, seed: u64) -> Booker {
        Booker {
            seed,
            users: (requests as f64 / profile.clients.bookings_per_user) as u64 + 1,
            party_sums: running_sums(profile.party_sizes.iter().copied()),
            profile: profile.clone(),
            trains,
            spreading,
        }
    }

    pub(crate) fn train(&self, draft: &Draft) -> &Train {
        &self.trains[draft.train]
    }

    pub(crate) fn trains(&self) -> &[Train] {
        &self.trains
    }

    pub(crate) fn dates(&self) -> usize {
        self.spreading.dates
    }

    pub(crate) fn pool(&self, draft: &Draft) -> &Pool {
        &self.trains[draft.train].pools[draft.pool]
    }

    pub(crate) fn draft(&self, booking: u64) -> Draft {
        let mut random = Random::new(self.seed, booking);
        let index = random.weighted(&self.spreading.train_sums);
        let train = &self.trains[index];
        let date = random.below(self.spreading.dates.min(train.dates.len()));
        let pool = random.weighted(&train.pool_sums);
        let (from, to) = segment(&mut random, self.profile.segments, train.stops.len());
        let party_max = if train.pools[pool].is_tatkal() {
            TATKAL_PARTY_MAX
        } else {
            PARTY_TOO_LARGE - 1
        };
        let party = (random.weighted(&self.party_sums) + 1).min(party_max);
        let faults = [
            Fault::UnknownStation,
            Fault::OutOfOrder,
            Fault::PartyTooLarge,
            Fault::UnknownClass,
        ];
        let fault = random
            .chance(self.profile.clients.malformed)
            .then(|| *random.pick(&faults));
        Draft {
            train: index,
            date,
            pool,
            from,
            to,
            party,
            fault,
            random,
        }
    }

    pub(crate) fn request(&self, booking: u64, draft: &Draft) -> BookingRequest {
        let (train, pool) = (self.train(draft), self.pool(draft));
        let mut random = draft.random.clone();
        let user = self.user(&mut random);
        let mut stations = (train.stops[draft.from].as_str(), train.stops[draft.to].as_str());
        let (mut class, mut party) = (pool.class.as_str(), draft.party);
        match draft.fault {
            None => {}
            Some(Fault::UnknownStation) => stations.1 = NOWHERE,
            Some(Fault::OutOfOrder) => stations = (stations.1, stations.0),
            Some(Fault::PartyTooLarge) => party = PARTY_TOO_LARGE,
            Some(Fault::UnknownClass) => class = NOWHERE,
        }
        BookingRequest {
            request_id: identity::request_id(self.seed, booking, Request::Booking).into(),
            train_id: train.id.clone(),
            travel_date: self.travel_date(draft),
            user_id: user,
            from_station: stations.0.into(),
            to_station: stations.1.into(),
            travel_class: class.into(),
            quota: pool.quota.clone(),
            partial_confirmation: party > 1 && random.chance(self.profile.wishes.partial_confirmation),
            passengers: (0..party).map(|_| self.passenger(&mut random, pool, party)).collect(),
            requested_at: 0,
        }
    }

    /// The same key with another body: the first passenger has become a year older.
    pub(crate) fn altered(&self, booking: u64, draft: &Draft) -> BookingRequest {
        let mut request = self.request(booking, draft);
        if let Some(passenger) = request.passengers.first_mut() {
            passenger.age += 1;
        }
        request
    }

    pub(crate) fn cancellation(&self, booking: u64, draft: &Draft) -> CancellationRequest {
        let mut random = Random::new(self.seed, booking ^ CANCELLATION_STREAM);
        let partial = draft.party > 1 && random.chance(self.profile.cancellations.partial);
        CancellationRequest {
            request_id: identity::request_id(self.seed, booking, Request::Cancellation).into(),
            train_id: self.train(draft).id.clone(),
            travel_date: self.travel_date(draft),
            booking_request_id: identity::request_id(self.seed, booking, Request::Booking).into(),
            passengers: if partial {
                vec![random.below(draft.party) as i32]
            } else {
                vec![]
            },
            user_id: self.user(&mut draft.random.clone()),
            requested_at: 0,
        }
    }

    fn travel_date(&self, draft: &Draft) -> Date {
        self.train(draft).dates[draft.date]
    }

    /// Always the first draw after the draft's own, so that booking and cancellation agree.
    fn user(&self, random: &mut Random) -> Text {
        identity::user_id(random.below(self.users as usize) as u64).into()
    }

    fn passenger(&self, random: &mut Random, pool: &Pool, party: usize) -> Passenger {
        let wishes = self.profile.wishes;
        let drawn = random.unit();
        let preference_is_hard = party == 1 && drawn < wishes.hard && !pool.wishes.is_empty();
        let has_wish = preference_is_hard || (drawn >= wishes.hard && drawn < wishes.hard + wishes.soft);
        Passenger {
            name: identity::name(random).into(),
            age: identity::age(random),
            berth_preference: match has_wish && !pool.wishes.is_empty() {
                true => *random.pick(&pool.wishes),
                false => BerthPreference::None,
            },
            preference_is_hard,
        }
    }
}

/// From and to, as indices of the route's stops (two or more).
fn segment(random: &mut Random, segments: Segments, stops: usize) -> (usize, usize) {
    let last = stops - 1;
    let drawn = random.unit() * (segments.full_run + segments.one_end + segments.inner);
    if stops == 2 || drawn < segments.full_run {
        return (0, last);
    }
    let inside = stops - 2;
    if stops == 3 || drawn < segments.full_run + segments.one_end {
        let stop = 1 + random.below(inside);
        return if random.chance(0.5) { (0, stop) } else { (stop, last) };
    }
    let (a, b) = (random.below(inside), random.below(inside - 1));
    let b = if b >= a { b + 1 } else { b };
    (1 + a.min(b), 1 + a.max(b))
}
