//! Chooses the seats of a party (R7).
//!
//! **One passenger.** Of the seats that fit, those of the preferred kind if there are any (without one, a hard
//! preference gets no seat); of these the one with the smallest free gap around the segment; of these the first in the
//! train.
//!
//! **Several.** First the place, then the seats in it:
//! 1. the bay with enough fitting seats, fewest left over, first in the train;
//! 2. else the coach with enough fitting seats, fewest left over, first in the train;
//! 3. else as few coaches as possible, those with the most fitting seats first.
//!
//! All hard preferences must be met. A place that cannot meet them is skipped, and if the whole allotment cannot, no
//! passenger is seated. Within the place, passengers with hard preferences are served first, then those with soft ones,
//! then the rest (including those whose soft preference cannot be met), each group in listed order and each passenger
//! with the first seat by (coach rank in case 3, gap, place in the train). A preference names one kind of berth, so
//! serving the passengers one by one meets as many preferences as can be met together.
//!
//! [`Allocation::FirstFit`] omits the gaps from these comparisons and changes nothing else.

use std::ops::Range;

use interlock_schemas::{Allocation, Berth, BerthPreference, Tier};
use smallvec::SmallVec;

use crate::plan::{Allotment, BERTHS};
use crate::seats::{Fitting, SeatSet, both, count_in, count_in_bytes, is_member, members};

/// The preference of one passenger.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    berth: Option<Berth>,
    hard: bool,
}

impl Wish {
    /// True if the preference is a condition; never without a berth.
    pub(crate) fn new(preference: BerthPreference, hard: bool) -> Wish {
        let berth = match preference {
            BerthPreference::None => None,
            BerthPreference::Lower => Some(Berth::Lower),
            BerthPreference::Middle => Some(Berth::Middle),
            BerthPreference::Upper => Some(Berth::Upper),
            BerthPreference::SideLower => Some(Berth::SideLower),
            BerthPreference::SideUpper => Some(Berth::SideUpper),
            BerthPreference::Window => Some(Berth::Window),
            BerthPreference::Aisle => Some(Berth::Aisle),
        };
        Wish {
            berth,
            hard: hard && berth.is_some(),
        }
    }

    pub(crate) fn is_hard(self) -> bool {
        self.hard
    }
}

/// Indices of seats in the allotment, in the order of the preferences.
pub(crate) struct Seating {
    pub(crate) seats: SmallVec<[usize; 6]>,
    pub(crate) tier: Tier,
}

/// Returns seats for a party; `None` if too few seats fit or a hard preference cannot be met.
pub(crate) fn choose(
    fitting: &Fitting<'_>,
    allotment: &Allotment,
    wishes: &[Wish],
    allocation: Allocation,
) -> Option<Seating> {
    let choice = Choice {
        fitting,
        allotment,
        wishes,
        allocation,
    };
    match wishes {
        [wish] => {
            let seat = choice.seat_for(*wish)?;
            Some(Seating {
                seats: SmallVec::from_slice(&[seat]),
                tier: Tier::SameBay,
            })
        }
        _ => choice.party(),
    }
}

struct Choice<'a> {
    fitting: &'a Fitting<'a>,
    allotment: &'a Allotment,
    wishes: &'a [Wish],
    allocation: Allocation,
}

impl Choice<'_> {
    fn seat_for(&self, wish: Wish) -> Option<usize> {
        if let Some(berth) = wish.berth {
            let wished = both(&self.fitting.seats, &self.allotment.kinds[berth as usize]);
            let seat = self.best_of(&wished);
            if seat.is_some() || wish.hard {
                return seat;
            }
        }
        self.best_of(&self.fitting.seats)
    }

    fn best_of(&self, set: &[u64]) -> Option<usize> {
        match self.allocation {
            Allocation::BestFit => self.fitting.tightest(set),
            Allocation::FirstFit => members(set).next(),
        }
    }

    fn gap(&self, seat: usize) -> u32 {
        match self.allocation {
            Allocation::BestFit => self.fitting.gap_around(seat),
            Allocation::FirstFit => 0,
        }
    }

    fn party(&self) -> Option<Seating> {
        if self.fitting.count() < self.wishes.len() {
            return None;
        }
        let demand = Demand::of(self);
        if let Some(bay) = demand.tightest(demand.bays(self.allotment)) {
            return Some(self.seat_in(&[bay], Tier::SameBay));
        }
        if let Some(coach) = demand.tightest(demand.places(&self.allotment.coaches)) {
            return Some(self.seat_in(&[coach], Tier::SameCoach));
        }
        let mut coaches = self.allotment.coaches.clone();
        coaches.sort_by_key(|coach| std::cmp::Reverse(count_in(&self.fitting.seats, coach)));
        let used = (1..=coaches.len()).find(|&used| demand.met_by(&coaches[..used]))?;
        Some(self.seat_in(&coaches[..used], Tier::Split))
    }

    fn seat_in(&self, place: &[Range<usize>], tier: Tier) -> Seating {
        let mut free: SmallVec<[Candidate; 64]> = SmallVec::new();
        for (rank, range) in place.iter().enumerate() {
            for seat in range.clone().filter(|&seat| is_member(&self.fitting.seats, seat)) {
                free.push(Candidate::new(rank, self.gap(seat), seat));
            }
        }
        free.sort_unstable();
        let mut seats: SmallVec<[Option<usize>; 6]> = SmallVec::from_elem(None, self.wishes.len());
        for hard in [true, false] {
            for (seat, wish) in seats.iter_mut().zip(self.wishes) {
                if let (None, Some(berth), true) = (*seat, wish.berth, wish.hard == hard) {
                    *seat = free
                        .iter()
                        .position(|free| is_member(&self.allotment.kinds[berth as usize], free.seat()))
                        .map(|found| free.remove(found).seat());
                }
            }
        }
        let mut rest = free.into_iter().map(Candidate::seat);
        let seats = seats
            .into_iter()
            .filter_map(|seat| seat.or_else(|| rest.next()))
            .collect();
        Seating { seats, tier }
    }
}

/// A seat, ordered by the rank of its coach, its gap, and its place in the train.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate(u64);

impl Candidate {
    fn new(rank: usize, gap: u32, seat: usize) -> Candidate {
        // A train has at most 2¹⁶ seats, and a gap at most 2⁷ legs.
        Candidate((rank as u64) << 32 | u64::from(gap) << 16 | seat as u64)
    }

    fn seat(self) -> usize {
        self.0 as usize & 0xffff
    }
}

/// The seats that a place must offer: in total, and of each kind that is a condition.
struct Demand<'a> {
    fit: &'a [u64],
    seats: usize,
    kinds: SmallVec<[(SeatSet, usize); 2]>,
}

impl<'a> Demand<'a> {
    fn of(choice: &'a Choice<'_>) -> Demand<'a> {
        let mut wanted = [0; BERTHS];
        for wish in choice.wishes.iter().filter(|wish| wish.hard) {
            if let Some(berth) = wish.berth {
                wanted[berth as usize] += 1;
            }
        }
        let conditions = wanted
            .into_iter()
            .zip(&choice.allotment.kinds)
            .filter(|(seats, _)| *seats > 0);
        let kinds = conditions
            .map(|(seats, kind)| (both(&choice.fitting.seats, kind), seats))
            .collect();
        Demand {
            fit: &choice.fitting.seats,
            seats: choice.wishes.len(),
            kinds,
        }
    }

    fn met_by(&self, place: &[Range<usize>]) -> bool {
        let offers = |set: &[u64]| place.iter().map(|range| count_in(set, range)).sum::<usize>();
        offers(self.fit) >= self.seats && self.kinds.iter().all(|(kind, seats)| offers(kind) >= *seats)
    }

    /// Iterates over the bays, with the number of seats that fit in each.
    fn bays(&self, allotment: &'a Allotment) -> impl Iterator<Item = (usize, &'a Range<usize>)> {
        let (bytes, others) = match allotment.bays_are_bytes {
            true => (&allotment.bays[..], &[][..]),
            false => (&[][..], &allotment.bays[..]),
        };
        let by_bytes = self.fit.iter().zip(bytes.chunks(8)).flat_map(|(word, bays)| {
            let counts = count_in_bytes(*word).into_iter().map(usize::from);
            counts.zip(bays)
        });
        by_bytes.chain(self.places(others))
    }

    /// Iterates over places, with the number of seats that fit in each.
    fn places(&self, places: &'a [Range<usize>]) -> impl Iterator<Item = (usize, &'a Range<usize>)> {
        places.iter().map(|place| (count_in(self.fit, place), place))
    }

    fn tightest(&self, places: impl Iterator<Item = (usize, &'a Range<usize>)>) -> Option<Range<usize>> {
        let mut tightest: Option<(usize, &Range<usize>)> = None;
        for (fit, place) in places {
            let is_better = fit >= self.seats && tightest.is_none_or(|(fewest, _)| fit < fewest);
            if is_better && self.met_by(std::slice::from_ref(place)) {
                tightest = Some((fit, place));
                if fit == self.seats {
                    break;
                }
            }
        }
        tightest.map(|(_, place)| place.clone())
    }
}
