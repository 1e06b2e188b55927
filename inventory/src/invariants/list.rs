//! The auditor's view of one waitlist: the waiters, those who could be served, and the positions that events must
//! state.

use std::collections::HashMap;

use interlock_schemas::{PromotionPolicy, Text};

/// Passengers who are served together, in the auditor's view.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) request_id: Text,
    pub(super) from: usize,
    pub(super) to: usize,
    /// Index and first position of each.
    pub(super) passengers: Vec<(i32, i32)>,
}

/// A waitlist and the seats of its allotment.
#[derive(Debug, Default)]
pub(super) struct List {
    /// Held legs of each seat of the class and quota.
    pub(super) rows: Vec<u128>,
    pub(super) waiters: Vec<Waiter>,
    /// First positions issued so far.
    pub(super) issued: i32,
    /// Requests of waiters who could be served when space was freed in this command, by first position.
    candidates: Vec<i32>,
    /// True if space was freed or a waiter left in this command.
    pub(super) stirred: bool,
}

impl List {
    pub(super) fn fitting(&self, from: usize, to: usize) -> usize {
        let segment = legs(from, to);
        self.rows.iter().filter(|row| **row & segment == 0).count()
    }

    /// Returns all waiters who could be served now. Under LEG_STRICT the seats on every leg must also cover those
    /// ahead.
    fn servable(&self, policy: PromotionPolicy) -> Vec<i32> {
        let mut fitting = HashMap::new();
        let mut free = HashMap::new();
        let mut ahead = [0_usize; 128];
        let mut found = Vec::new();
        for waiter in &self.waiters {
            let (segment, size) = ((waiter.from, waiter.to), waiter.passengers.len());
            let mut served = *fitting
                .entry(segment)
                .or_insert_with(|| self.fitting(segment.0, segment.1))
                >= size;
            if policy == PromotionPolicy::LegStrict {
                for (leg, claimed) in ahead.iter_mut().enumerate().take(waiter.to).skip(waiter.from) {
                    served &= *free.entry(leg).or_insert_with(|| self.fitting(leg, leg + 1)) >= *claimed + size;
                    *claimed += size;
                }
            }
            if served {
                found.extend(waiter.passengers.first().map(|(_, first)| *first));
            }
        }
        found
    }

    /// Notes the waiters who could be served now, after space was freed or a waiter left.
    pub(super) fn stir(&mut self, policy: PromotionPolicy) {
        self.candidates = self.servable(policy);
        self.stirred = true;
    }

    /// Returns a waiter ahead of a first position whom the space would have served at this moment. Space only shrinks
    /// until the command ends, so only the candidates need to be checked; under LEG_STRICT the claims ahead are counted
    /// again.
    pub(super) fn passed_over(&self, first: i32, policy: PromotionPolicy) -> Option<&Waiter> {
        let earlier = |waiter: &&Waiter| waiter.passengers.first().is_some_and(|passenger| passenger.1 < first);
        if !self.candidates.iter().any(|candidate| *candidate < first) {
            return None;
        }
        let servable = match policy {
            PromotionPolicy::FifoSkip => Vec::new(),
            PromotionPolicy::LegStrict => self.servable(policy),
        };
        self.waiters.iter().filter(earlier).find(|waiter| {
            let name = waiter.passengers[0].1;
            self.candidates.contains(&name)
                && match policy {
                    PromotionPolicy::FifoSkip => self.fitting(waiter.from, waiter.to) >= waiter.passengers.len(),
                    PromotionPolicy::LegStrict => servable.contains(&name),
                }
        })
    }

    /// Returns whether the waiter with a first position may be served at this moment.
    pub(super) fn may_be_served(&self, first: i32, policy: PromotionPolicy) -> bool {
        self.servable(policy).contains(&first)
    }

    /// Returns whether a newcomer may be seated before all waiters.
    pub(super) fn leaves_room(&self, from: usize, to: usize, size: usize, policy: PromotionPolicy) -> bool {
        let claimed = |leg: usize| -> usize {
            let over = self
                .waiters
                .iter()
                .filter(|waiter| waiter.from <= leg && leg < waiter.to);
            over.map(|waiter| waiter.passengers.len()).sum()
        };
        policy == PromotionPolicy::FifoSkip || (from..to).all(|leg| self.fitting(leg, leg + 1) >= claimed(leg) + size)
    }

    /// Returns, at the end of a command, a waiter who could be served and still waits.
    pub(super) fn forgotten(&mut self, policy: PromotionPolicy) -> Option<&Waiter> {
        self.candidates.clear();
        if !std::mem::take(&mut self.stirred) {
            return None;
        }
        let first = *self.servable(policy).first()?;
        self.waiters
            .iter()
            .find(|waiter| waiter.passengers.first().is_some_and(|passenger| passenger.1 == first))
    }

    /// Returns the place of a passenger among the waiters, from 1.
    pub(super) fn place(&self, first: i32) -> Option<i32> {
        let passengers = self.waiters.iter().flat_map(|waiter| &waiter.passengers);
        passengers
            .zip(1..)
            .find(|(passenger, _)| passenger.1 == first)
            .map(|(_, place)| place)
    }

    /// Removes a passenger from the list, and returns the first position.
    pub(super) fn leave(&mut self, request_id: &str, index: i32) -> Option<i32> {
        let holds = |waiter: &Waiter| waiter.request_id == request_id && waiter.passengers.iter().any(|p| p.0 == index);
        let at = self.waiters.iter().position(holds)?;
        let waiter = &mut self.waiters[at];
        let passenger = waiter.passengers.iter().position(|passenger| passenger.0 == index)?;
        let (_, first) = waiter.passengers.remove(passenger);
        if waiter.passengers.is_empty() {
            self.waiters.remove(at);
        }
        Some(first)
    }
}

/// Returns the legs of a segment as bits.
pub(super) fn legs(from: usize, to: usize) -> u128 {
    (from..to).fold(0, |legs, leg| legs | 1 << leg)
}
