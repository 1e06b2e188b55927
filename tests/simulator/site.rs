//! The point where calls leave a worker: each call passes a numbered yield point, at which the seed may make it fail.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use interlock_streams::ledger::memory::MemoryLedgerStore;
use tokio::time::{Instant, sleep, sleep_until};

use super::schedule::Rates;
use super::trace::Trace;
use crate::random::Random;

/// The fate of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// The call has its effect and is answered.
    #[default]
    Proceed,
    /// The call fails without effect.
    Refused,
    /// The call has its effect, but the answer is lost.
    AnswerLost,
    /// The call fails, and has its effect after this time.
    Late(Duration),
    /// The call has its effect, and has it again after this time.
    Repeated(Duration),
}

/// A call's passage through a yield point.
pub(super) struct Passage {
    pub(super) fate: Fate,
    /// Time that the answer takes.
    answer_takes: Duration,
}

/// The fates that are possible for a call.
#[derive(Clone, Copy)]
pub(super) enum Fair {
    /// The call may only be delayed: it is local and can't fail by itself.
    Delay,
    /// The call may fail.
    Fail,
    /// The call may fail, and the request may be delayed or repeated by the network.
    Write,
}

/// One life of a worker, as the simulated parts see it.
pub(super) struct Site {
    /// The name in the trace.
    pub(super) name: String,
    pub(super) trace: Trace,
    healed: Arc<AtomicBool>,
    rates: Rates,
    random: Mutex<Random>,
    points: AtomicU64,
    began: Instant,
    frozen_until_ms: AtomicU64,
    unreachable_until_ms: AtomicU64,
    store: Mutex<MemoryLedgerStore>,
}

impl Site {
    pub(super) fn new(
        name: String,
        random: Random,
        rates: Rates,
        trace: Trace,
        healed: Arc<AtomicBool>,
        store: MemoryLedgerStore,
    ) -> Self {
        Self {
            name,
            began: Instant::now() - Duration::from_millis(trace.now_ms()),
            trace,
            healed,
            rates,
            random: Mutex::new(random),
            points: AtomicU64::new(0),
            frozen_until_ms: AtomicU64::new(0),
            unreachable_until_ms: AtomicU64::new(0),
            store: Mutex::new(store),
        }
    }

    /// Stops the worker at its next call.
    pub(super) fn freeze(&self, for_ms: u64) {
        self.frozen_until_ms
            .store(self.trace.now_ms() + for_ms, Ordering::Relaxed);
    }

    /// Cuts the worker off from the ledger store.
    pub(super) fn cut_off(&self, for_ms: u64) {
        self.unreachable_until_ms
            .store(self.trace.now_ms() + for_ms, Ordering::Relaxed);
    }

    /// Returns the ledger store that the worker is connected to.
    pub(super) fn store(&self) -> MemoryLedgerStore {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_store(&self, store: MemoryLedgerStore) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = store;
    }

    pub(super) fn is_cut_off(&self) -> bool {
        !self.is_healed() && self.trace.now_ms() < self.unreachable_until_ms.load(Ordering::Relaxed)
    }

    fn is_healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    fn random(&self) -> std::sync::MutexGuard<'_, Random> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true in one of two cases, to choose between possible errors.
    pub(super) fn coin(&self) -> bool {
        self.random().chance(5_000)
    }

    pub(super) fn say(&self, what: fmt::Arguments<'_>) {
        self.trace.line(format_args!("{} {what}", self.name));
    }

    /// Returns the name of a call in the trace.
    pub(super) fn text(&self, what: fmt::Arguments<'_>) -> String {
        self.trace.text(what)
    }

    /// Decides the fate of a call that can't wait.
    pub(super) fn roll(&self, call: &str, fair: Fair) -> Passage {
        let (passage, _) = self.draw(call, fair);
        passage
    }

    /// Decides the fate of a call, and waits until the call arrives.
    pub(super) async fn enter(&self, call: &str, fair: Fair) -> Passage {
        let (passage, arrives_after) = self.draw(call, fair);
        if !arrives_after.is_zero() {
            sleep(arrives_after).await;
        }
        self.thaw().await;
        passage
    }

    /// Waits until the answer arrives.
    pub(super) async fn leave(&self, passage: &Passage) {
        if !passage.answer_takes.is_zero() {
            sleep(passage.answer_takes).await;
        }
        self.thaw().await;
    }

    async fn thaw(&self) {
        let until = self.frozen_until_ms.load(Ordering::Relaxed);
        if self.trace.now_ms() < until && !self.is_healed() {
            self.say(format_args!("frozen"));
            sleep_until(self.began + Duration::from_millis(until)).await;
            self.say(format_args!("thaws"));
        }
    }

    fn draw(&self, call: &str, fair: Fair) -> (Passage, Duration) {
        let point = self.points.fetch_add(1, Ordering::Relaxed);
        let mut passage = Passage {
            fate: Fate::Proceed,
            answer_takes: Duration::ZERO,
        };
        let mut arrives_after = Duration::ZERO;
        if self.is_healed() {
            return (passage, arrives_after);
        }
        let (mut random, rates) = (self.random(), &self.rates);
        let delay = |random: &mut Random| {
            if random.chance(rates.stall) {
                // From a tenth of a second to longer than every time-out, short ones more often.
                Duration::from_millis(100 + random.below(25_000) / random.between(1, 25))
            } else if random.chance(rates.slow) {
                Duration::from_millis(random.between(1, 30))
            } else {
                Duration::ZERO
            }
        };
        arrives_after += delay(&mut random);
        passage.answer_takes += delay(&mut random);
        let wanders = Duration::from_millis(random.below(20_000) / random.between(1, 100));
        passage.fate = match fair {
            Fair::Delay => Fate::Proceed,
            _ if random.chance(rates.refused) => Fate::Refused,
            _ if random.chance(rates.answer_lost) => Fate::AnswerLost,
            Fair::Write if random.chance(rates.late) => Fate::Late(wanders),
            Fair::Write if random.chance(rates.repeated) => Fate::Repeated(wanders),
            _ => Fate::Proceed,
        };
        drop(random);
        let answer_takes = passage.answer_takes;
        match (passage.fate, arrives_after.is_zero() && answer_takes.is_zero()) {
            (Fate::Proceed, true) => self.say(format_args!("#{point} {call}")),
            (fate, _) => self.say(format_args!(
                "#{point} {call} {fate:?} +{} +{} ms",
                arrives_after.as_millis(),
                answer_takes.as_millis()
            )),
        }
        (passage, arrives_after)
    }
}
