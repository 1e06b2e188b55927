//! The rules once more: slow, obvious, and written from `docs/DOMAIN.md` without the code under test.
//!
//! Seats are rows of booleans, everything is searched from the start each time, and nothing is shared with `decide` but
//! the record types. It answers with what a traveller sees: lines such as `S2-5` or `WL 3/1`.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a module of a test binary")]

use std::collections::HashMap;

use interlock_schemas::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Index, coach, seat of each; tier.
    Seated(Vec<(i32, Text, i32)>, Tier),
    /// Index, first, current of each.
    Waits(Vec<(i32, i32, i32)>),
    Refused(&'static str),
    /// Index, refund, gone before.
    GaveBack(Vec<(i32, Minor, bool)>),
    /// Booking and as in `Seated`.
    Promoted(Text, Vec<(i32, Text, i32)>, Tier),
    /// Booking, index, first, current.
    Moved(Vec<(Text, i32, i32, i32)>),
    Again(Vec<Told>),
}

#[derive(Clone)]
struct Seat {
    coach: usize,
    number: i32,
    bay: i32,
    berth: Berth,
    class: Text,
    quota: Text,
    taken: Vec<bool>,
}

#[derive(Clone, PartialEq)]
enum State {
    Seat(usize),
    Waits,
    Gone,
}

struct Person {
    booking: Text,
    index: i32,
    state: State,
    paid: Minor,
    first: i32,
    wish: BerthPreference,
}

struct Booked {
    user: Text,
    allotment: (Text, Text),
    from: usize,
    to: usize,
}

/// People who are served at once, in order of arrival.
struct Waiting {
    allotment: (Text, Text),
    booking: Text,
    people: Vec<usize>,
}

pub struct Oracle {
    plan: TrainService,
    seats: Vec<Seat>,
    people: Vec<Person>,
    bookings: HashMap<Text, Booked>,
    list: Vec<Waiting>,
    issued: HashMap<(Text, Text), i32>,
    answers: HashMap<Text, (Command, Vec<Told>)>,
    /// Fares collected less refunds.
    pub balance: Minor,
}

impl Oracle {
    pub fn new(plan: &TrainService) -> Oracle {
        let mut seats = Vec::new();
        for (coach, described) in plan.coaches.iter().enumerate() {
            let layout = plan
                .layouts
                .iter()
                .find(|layout| layout.name == described.layout)
                .unwrap();
            for number in 1..=layout.seats {
                let per_bay = layout.pattern.len() as i32;
                seats.push(Seat {
                    coach,
                    number,
                    bay: (number - 1) / per_bay,
                    berth: layout.pattern[((number - 1) % per_bay) as usize],
                    class: described.travel_class.clone(),
                    quota: "GN".into(),
                    taken: vec![false; plan.route.len() - 1],
                });
            }
        }
        for quota in &plan.quotas {
            for _ in 0..quota.seats {
                let last = seats
                    .iter_mut()
                    .rev()
                    .find(|seat| seat.class == quota.travel_class && seat.quota == "GN");
                last.unwrap().quota = quota.quota.clone();
            }
        }
        Oracle {
            plan: plan.clone(),
            seats,
            people: vec![],
            bookings: HashMap::new(),
            list: vec![],
            issued: HashMap::new(),
            answers: HashMap::new(),
            balance: 0,
        }
    }

    /// Returns the answers to a command at `now`; `departures` are the times at which the train leaves its stops.
    pub fn command(&mut self, command: &Command, now: TimestampMs, departures: &[TimestampMs]) -> Vec<Told> {
        let mut command = command.clone();
        let id = match &mut command {
            Command::Book(request) => {
                request.requested_at = 0;
                request.request_id.clone()
            }
            Command::Cancel(request) => {
                request.requested_at = 0;
                request.request_id.clone()
            }
        };
        if let Some((first, told)) = self.answers.get(&id) {
            return if *first == command {
                vec![Told::Again(told.clone())]
            } else {
                vec![Told::Refused("IDEMPOTENCY_KEY_REUSED")]
            };
        }
        let told = match &command {
            _ if is_malformed(&command) => vec![Told::Refused("MALFORMED_REQUEST")],
            Command::Book(request) => self
                .book(request, now, departures)
                .unwrap_or_else(|code| vec![Told::Refused(code)]),
            Command::Cancel(request) => self
                .cancel(request, now, departures)
                .unwrap_or_else(|code| vec![Told::Refused(code)]),
        };
        let answers = told
            .iter()
            .filter(|told| !matches!(told, Told::Promoted(..) | Told::Moved(_)))
            .cloned()
            .collect();
        self.answers.insert(id, (command, answers));
        told
    }

    pub fn availability(&self, from: usize, to: usize, class: &str, quota: &str) -> usize {
        self.fitting(&(class.into(), quota.into()), from, to).len()
    }

    pub fn taken(&self) -> impl Iterator<Item = &[bool]> {
        self.seats.iter().map(|seat| seat.taken.as_slice())
    }

    /// Waiters in order: booking, index, first, current.
    pub fn waiters(&self, class: &str, quota: &str) -> Vec<(Text, i32, i32, i32)> {
        let allotment = (class.into(), quota.into());
        let people = self
            .list
            .iter()
            .filter(|waiting| waiting.allotment == allotment)
            .flat_map(|waiting| &waiting.people);
        people
            .zip(1..)
            .map(|(&person, place)| {
                (
                    self.people[person].booking.clone(),
                    self.people[person].index,
                    self.people[person].first,
                    place,
                )
            })
            .collect()
    }

    fn book(
        &mut self,
        request: &BookingRequest,
        now: TimestampMs,
        departures: &[TimestampMs],
    ) -> Result<Vec<Told>, &'static str> {
        let stop = |code: &str| {
            self.plan
                .route
                .iter()
                .position(|stop| stop.code == code)
                .ok_or("UNKNOWN_STATION")
        };
        let (from, to) = (stop(&request.from_station)?, stop(&request.to_station)?);
        if from >= to {
            return Err("STATIONS_OUT_OF_ORDER");
        }
        if !self.seats.iter().any(|seat| seat.class == request.travel_class) {
            return Err("CLASS_NOT_ON_TRAIN");
        }
        let named = |quota: &Quota| quota.travel_class == request.travel_class && quota.quota == request.quota;
        if request.quota != "GN" && !self.plan.quotas.iter().any(named) {
            return Err("QUOTA_NOT_ON_TRAIN");
        }
        let size = request.passengers.len();
        if size == 0 {
            return Err("NO_PASSENGERS");
        }
        if size > if request.quota == "TQ" { 4 } else { 6 } {
            return Err("TOO_MANY_PASSENGERS");
        }
        if now >= departures[from] {
            return Err("TRAIN_DEPARTED");
        }
        let allotment = (request.travel_class.clone(), request.quota.clone());
        let mut seatable = 0;
        for count in 1..=size {
            if self.may_be_served(&allotment, from, to, count, self.list.len()) {
                seatable = count;
            }
        }
        if !request.partial_confirmation && seatable < size {
            seatable = 0;
        }
        let wishes: Vec<(BerthPreference, bool)> = request
            .passengers
            .iter()
            .map(|p| {
                (
                    p.berth_preference,
                    p.preference_is_hard && p.berth_preference != BerthPreference::None,
                )
            })
            .collect();
        if wishes[seatable..].iter().any(|(_, hard)| *hard) {
            return Err("NO_MATCHING_BERTH");
        }
        let seated = match seatable {
            0 => None,
            _ => Some(
                self.choose(&allotment, from, to, &wishes[..seatable])
                    .ok_or("NO_MATCHING_BERTH")?,
            ),
        };
        let waiting: usize = self
            .list
            .iter()
            .filter(|w| w.allotment == allotment)
            .map(|w| w.people.len())
            .sum();
        let named_cap = self
            .plan
            .waitlist_caps
            .iter()
            .find(|cap| cap.travel_class == allotment.0 && cap.quota == allotment.1);
        let cap = named_cap.map_or_else(|| self.default_cap(&allotment), |cap| cap.passengers as usize);
        if size > seatable && waiting + size - seatable > cap {
            return Err("WAITLIST_FULL");
        }
        let booked = Booked {
            user: request.user_id.clone(),
            allotment: allotment.clone(),
            from,
            to,
        };
        self.bookings.insert(request.request_id.clone(), booked);
        let paid = self.fare(&allotment, from, to);
        self.balance += paid * size as i64;
        let mut told = Vec::new();
        let first_person = self.people.len();
        for (index, passenger) in request.passengers.iter().enumerate() {
            let state = match &seated {
                Some((seats, _)) if index < seats.len() => State::Seat(seats[index]),
                _ => State::Waits,
            };
            let first = if state == State::Waits {
                self.issue(&allotment)
            } else {
                0
            };
            let wish = passenger.berth_preference;
            self.people.push(Person {
                booking: request.request_id.clone(),
                index: index as i32,
                state,
                paid,
                first,
                wish,
            });
        }
        if let Some((seats, tier)) = seated {
            self.occupy(&seats, from, to, true);
            told.push(Told::Seated(self.places(0, &seats), tier));
        }
        if seatable < size {
            let newcomers: Vec<usize> = (first_person + seatable..self.people.len()).collect();
            let lines = newcomers
                .iter()
                .zip(waiting as i32 + 1..)
                .map(|(&p, place)| (self.people[p].index, self.people[p].first, place));
            told.push(Told::Waits(lines.collect()));
            let groups: Vec<Vec<usize>> = match request.partial_confirmation {
                true => newcomers.into_iter().map(|person| vec![person]).collect(),
                false => vec![newcomers],
            };
            for people in groups {
                self.list.push(Waiting {
                    allotment: allotment.clone(),
                    booking: request.request_id.clone(),
                    people,
                });
            }
        }
        Ok(told)
    }

    fn cancel(
        &mut self,
        request: &CancellationRequest,
        now: TimestampMs,
        departures: &[TimestampMs],
    ) -> Result<Vec<Told>, &'static str> {
        let id = &request.booking_request_id;
        let booked = self.bookings.get(id).ok_or("BOOKING_NOT_FOUND")?;
        if booked.user != request.user_id {
            return Err("NOT_YOUR_BOOKING");
        }
        let (allotment, from, to) = (booked.allotment.clone(), booked.from, booked.to);
        let members: Vec<usize> = (0..self.people.len())
            .filter(|&p| self.people[p].booking == *id)
            .collect();
        if request
            .passengers
            .iter()
            .any(|&index| index < 0 || index as usize >= members.len())
        {
            return Err("UNKNOWN_PASSENGER");
        }
        let before = self.waiters(&allotment.0, &allotment.1);
        let hours_left = (departures[from] - now) as f64 / 3_600_000.0;
        let fare = self
            .plan
            .fares
            .iter()
            .find(|fare| fare.travel_class == allotment.0)
            .unwrap()
            .clone();
        let mut gave = Vec::new();
        for person in members {
            let index = self.people[person].index;
            if !request.passengers.is_empty() && !request.passengers.contains(&index) {
                continue;
            }
            let paid = self.people[person].paid;
            let state = std::mem::replace(&mut self.people[person].state, State::Gone);
            let refund = match state {
                State::Gone => 0,
                State::Waits => (paid - fare.clerkage_minor).max(0),
                State::Seat(seat) => {
                    self.occupy(&[seat], from, to, false);
                    let kept = match hours_left {
                        _ if allotment.1 == "TQ" => paid,
                        h if h > 72.0 => fare.cancellation_flat_minor,
                        h if h > 24.0 => fare
                            .cancellation_flat_minor
                            .max((paid as f64 * 0.25 + 0.5).floor() as i64),
                        h if h > 8.0 => fare
                            .cancellation_flat_minor
                            .max((paid as f64 * 0.5 + 0.5).floor() as i64),
                        _ => paid,
                    };
                    (paid - kept).max(0)
                }
            };
            for waiting in &mut self.list {
                waiting.people.retain(|&p| p != person);
            }
            self.balance -= refund;
            gave.push((index, refund, state == State::Gone));
        }
        self.list.retain(|waiting| !waiting.people.is_empty());
        let mut told = vec![Told::GaveBack(gave)];
        self.promote(&allotment, &mut told);
        let place_before =
            |booking: &str, index: i32| before.iter().find(|w| w.0 == booking && w.1 == index).map(|w| w.3);
        let after = self.waiters(&allotment.0, &allotment.1);
        let moved: Vec<_> = after
            .into_iter()
            .filter(|w| place_before(&w.0, w.1) != Some(w.3))
            .collect();
        if !moved.is_empty() {
            told.push(Told::Moved(moved));
        }
        Ok(told)
    }

    /// To a fixpoint, taken literally: the first entry of the list that may be served is served, until there is none.
    fn promote(&mut self, allotment: &(Text, Text), told: &mut Vec<Told>) {
        let first_servable = |oracle: &Oracle| {
            (0..oracle.list.len()).find(|&place| {
                let waiting = &oracle.list[place];
                let booked = &oracle.bookings[&waiting.booking];
                waiting.allotment == *allotment
                    && oracle.may_be_served(allotment, booked.from, booked.to, waiting.people.len(), place)
            })
        };
        while let Some(place) = first_servable(self) {
            let waiting = self.list.remove(place);
            let booked = &self.bookings[&waiting.booking];
            let (from, to) = (booked.from, booked.to);
            let wishes: Vec<_> = waiting
                .people
                .iter()
                .map(|&person| (self.people[person].wish, false))
                .collect();
            let (seats, tier) = self.choose(allotment, from, to, &wishes).unwrap();
            self.occupy(&seats, from, to, true);
            let mut places = self.places(0, &seats);
            for ((&person, &seat), line) in waiting.people.iter().zip(&seats).zip(&mut places) {
                self.people[person].state = State::Seat(seat);
                line.0 = self.people[person].index;
            }
            told.push(Told::Promoted(waiting.booking, places, tier));
        }
    }

    /// R16: it fits; under LEG_STRICT every leg also keeps a seat for each passenger ahead.
    fn may_be_served(&self, allotment: &(Text, Text), from: usize, to: usize, size: usize, place: usize) -> bool {
        let fits = self.fitting(allotment, from, to).len() >= size;
        let strict = self.plan.promotion == PromotionPolicy::LegStrict;
        fits && (!strict
            || (from..to).all(|leg| {
                let free = self.fitting(allotment, leg, leg + 1).len();
                let over_leg = |waiting: &&Waiting| {
                    let booked = &self.bookings[&waiting.booking];
                    waiting.allotment == *allotment && booked.from <= leg && leg < booked.to
                };
                let ahead: usize = self.list[..place]
                    .iter()
                    .filter(over_leg)
                    .map(|waiting| waiting.people.len())
                    .sum();
                free >= ahead + size
            }))
    }

    fn fitting(&self, allotment: &(Text, Text), from: usize, to: usize) -> Vec<usize> {
        let fits = |seat: &Seat| {
            seat.class == allotment.0 && seat.quota == allotment.1 && !seat.taken[from..to].contains(&true)
        };
        (0..self.seats.len()).filter(|&seat| fits(&self.seats[seat])).collect()
    }

    /// R7 as the crate documents its reading of it.
    fn choose(
        &self,
        allotment: &(Text, Text),
        from: usize,
        to: usize,
        wishes: &[(BerthPreference, bool)],
    ) -> Option<(Vec<usize>, Tier)> {
        let fitting = self.fitting(allotment, from, to);
        if let [(wish, hard)] = wishes {
            let key = |&seat: &usize| {
                let misses = *wish != BerthPreference::None && !self.grants(seat, *wish);
                (misses, self.gap(seat, from, to), seat)
            };
            let best = fitting.into_iter().min_by_key(key)?;
            return (!hard || self.grants(best, *wish)).then_some((vec![best], Tier::SameBay));
        }
        let places = |name: fn(&Seat) -> (usize, i32)| {
            let mut places: Vec<Vec<usize>> = Vec::new();
            for &seat in &fitting {
                match places
                    .iter_mut()
                    .find(|place| name(&self.seats[place[0]]) == name(&self.seats[seat]))
                {
                    Some(place) => place.push(seat),
                    None => places.push(vec![seat]),
                }
            }
            places
        };
        let coaches = places(|seat| (seat.coach, 0));
        for (tier, places) in [
            (Tier::SameBay, places(|seat| (seat.coach, seat.bay))),
            (Tier::SameCoach, coaches.clone()),
        ] {
            let enough = places.into_iter().filter(|place| self.satisfies(place, wishes));
            if let Some(place) = enough.min_by_key(Vec::len) {
                return Some((self.assign(&[place], from, to, wishes), tier));
            }
        }
        let mut fullest_first = coaches;
        fullest_first.sort_by_key(|place| -(place.len() as i32));
        let used = (1..=fullest_first.len()).find(|&used| self.satisfies(&fullest_first[..used].concat(), wishes))?;
        Some((self.assign(&fullest_first[..used], from, to, wishes), Tier::Split))
    }

    /// By brute force: everybody can sit, those with conditions where they want to.
    fn satisfies(&self, place: &[usize], wishes: &[(BerthPreference, bool)]) -> bool {
        let mut free = place.to_vec();
        let hard = wishes.iter().filter(|(_, hard)| *hard);
        for (wish, _) in hard {
            match free.iter().position(|&seat| self.grants(seat, *wish)) {
                Some(found) => free.remove(found),
                None => return false,
            };
        }
        place.len() >= wishes.len()
    }

    fn assign(&self, places: &[Vec<usize>], from: usize, to: usize, wishes: &[(BerthPreference, bool)]) -> Vec<usize> {
        let mut free: Vec<(usize, usize, usize)> = Vec::new();
        for (rank, place) in places.iter().enumerate() {
            free.extend(place.iter().map(|&seat| (rank, self.gap(seat, from, to), seat)));
        }
        let mut given = vec![usize::MAX; wishes.len()];
        for pass in 0..3 {
            for (person, (wish, hard)) in wishes.iter().enumerate() {
                let turn = match pass {
                    0 => *hard,
                    1 => !*hard && *wish != BerthPreference::None,
                    _ => true,
                };
                let wanted = |entry: &&(usize, usize, usize)| pass == 2 || self.grants(entry.2, *wish);
                if turn
                    && given[person] == usize::MAX
                    && let Some(&entry) = free.iter().filter(wanted).min()
                {
                    given[person] = entry.2;
                    free.retain(|other| *other != entry);
                }
            }
        }
        given
    }

    fn gap(&self, seat: usize, from: usize, to: usize) -> usize {
        let taken = &self.seats[seat].taken;
        let before = taken[..from].iter().rev().take_while(|taken| !**taken).count();
        let after = taken[to..].iter().take_while(|taken| !**taken).count();
        if self.plan.allocation == Allocation::FirstFit {
            0
        } else {
            before + after
        }
    }

    fn grants(&self, seat: usize, wish: BerthPreference) -> bool {
        format!("{:?}", self.seats[seat].berth) == format!("{wish:?}")
    }

    fn occupy(&mut self, seats: &[usize], from: usize, to: usize, taken: bool) {
        for &seat in seats {
            for leg in from..to {
                assert_ne!(self.seats[seat].taken[leg], taken);
                self.seats[seat].taken[leg] = taken;
            }
        }
    }

    fn places(&self, first_index: i32, seats: &[usize]) -> Vec<(i32, Text, i32)> {
        let name = |seat: usize| self.plan.coaches[self.seats[seat].coach].name.clone();
        (first_index..)
            .zip(seats)
            .map(|(index, &seat)| (index, name(seat), self.seats[seat].number))
            .collect()
    }

    fn issue(&mut self, allotment: &(Text, Text)) -> i32 {
        let issued = self.issued.entry(allotment.clone()).or_default();
        *issued += 1;
        *issued
    }

    fn default_cap(&self, allotment: &(Text, Text)) -> usize {
        let seats = self
            .seats
            .iter()
            .filter(|seat| seat.class == allotment.0 && seat.quota == allotment.1)
            .count();
        let share = if ["1A", "2A", "3A", "3E", "CC", "EC", "FIRST"].contains(&allotment.0.as_str()) {
            0.6
        } else {
            0.3
        };
        (seats as f64 * share + 0.5 + 1e-9).floor() as usize
    }

    fn fare(&self, allotment: &(Text, Text), from: usize, to: usize) -> Minor {
        let fare = self
            .plan
            .fares
            .iter()
            .find(|fare| fare.travel_class == allotment.0)
            .unwrap();
        let metres = self.plan.route[to].distance_m - self.plan.route[from].distance_m;
        let slab = fare
            .slabs
            .iter()
            .find(|slab| slab.up_to_m >= metres)
            .unwrap_or(fare.slabs.last().unwrap());
        let round = |amount: f64| (amount + 0.5).floor() as i64;
        let tatkal = match allotment.1.as_str() {
            "TQ" => round(slab.fare_minor as f64 * fare.tatkal_bp as f64 / 10_000.0)
                .clamp(fare.tatkal_min_minor, fare.tatkal_max_minor),
            _ => 0,
        };
        let sum = slab.fare_minor + fare.reservation_fee_minor + tatkal;
        sum + round(sum as f64 * fare.tax_bp as f64 / 10_000.0)
    }

    /// "No waiter fits" (FIFO_SKIP), or under LEG_STRICT: no waiter may be served.
    pub fn somebody_could_be_served(&self) -> bool {
        (0..self.list.len()).any(|place| {
            let waiting = &self.list[place];
            let booked = &self.bookings[&waiting.booking];
            self.may_be_served(&waiting.allotment, booked.from, booked.to, waiting.people.len(), place)
        })
    }
}

/// Section 3 of the rules; the train id is always right here.
fn is_malformed(command: &Command) -> bool {
    let unseen = |c: char| {
        c < ' '
            || ('\u{7f}'..='\u{9f}').contains(&c)
            || "\u{61c}\u{200e}\u{200f}".contains(c)
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    let wrong = |text: &Text, most: usize| {
        text.chars().all(char::is_whitespace) || text.chars().count() > most || text.chars().any(unseen)
    };
    match command {
        Command::Book(request) => {
            let codes = [
                &request.from_station,
                &request.to_station,
                &request.travel_class,
                &request.quota,
            ];
            let person = |p: &Passenger| wrong(&p.name, 256) || p.age < 0 || p.age > 150;
            wrong(&request.request_id, 256)
                || wrong(&request.user_id, 256)
                || codes.iter().any(|code| wrong(code, 32))
                || request.passengers.iter().any(person)
        }
        Command::Cancel(request) => [&request.request_id, &request.user_id, &request.booking_request_id]
            .iter()
            .any(|text| wrong(text, 256)),
    }
}
