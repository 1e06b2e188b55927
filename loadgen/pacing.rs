//! The times at which requests are meant to be sent.
//!
//! The load is open-loop: the n-th request has its time whatever became of the ones before. If the system under test
//! stalls and the sender with it, the requests that could not go out still count from when they were meant to
//! (otherwise the stall would be measured once instead of once for each request: "coordinated omission").

use interlock_random::Random;
use std::time::Duration;

use crate::profile::Arrivals;

/// Returns the wait before a request meant for `intended_at`, with `elapsed` since the start; `None` if it is due.
pub fn wait(intended_at: Duration, elapsed: Duration) -> Option<Duration> {
    intended_at.checked_sub(elapsed).filter(|pause| !pause.is_zero())
}

/// Intended times of a load's requests, ascending, counted from its start.
#[derive(Clone, Debug)]
pub struct Pacer {
    arrivals: Arrivals,
    requests: u64,
    rate: f64,
    at_once: bool,
    random: Random,
    index: u64,
    elapsed_s: f64,
}

/// Intended time of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tick {
    pub(crate) intended_at: Duration,
    /// Time on the clock that orders repetitions and cancellations; it runs even if everything is sent at once.
    pub(crate) ordered_at_s: f64,
}

impl Pacer {
    /// Creates the times of a number of requests. `rate` (requests/s, the mean over the whole load) overrides the
    /// profile's.
    pub fn new(arrivals: &Arrivals, requests: u64, rate: Option<f64>, seed: u64) -> Pacer {
        let (at_once, own_rate) = match arrivals {
            Arrivals::AtOnce { ordering_rate } => (rate.is_none(), *ordering_rate),
            Arrivals::Even { rate } | Arrivals::Poisson { rate } | Arrivals::Opening { rate, .. } => (false, *rate),
        };
        Pacer {
            arrivals: arrivals.clone(),
            requests,
            rate: rate.unwrap_or(own_rate),
            at_once,
            random: Random::new(seed, u64::MAX),
            index: 0,
            elapsed_s: 0.0,
        }
    }

    /// Mean rate, in requests per second; none: everything at once.
    pub fn rate(&self) -> Option<f64> {
        (!self.at_once).then_some(self.rate)
    }

    /// Returns the time at which the last request is meant to be sent (Poisson: on average).
    pub fn duration(&self) -> Duration {
        if self.at_once {
            Duration::ZERO
        } else {
            seconds(self.ordered_s())
        }
    }

    /// Seconds of the opening's real time that pass in one second of this load; none: it has no real time.
    pub fn time_scale(&self) -> Option<f64> {
        let Arrivals::Opening { curve, .. } = &self.arrivals else {
            return None;
        };
        curve.last().map(|(minutes, _)| minutes * 60.0 / self.ordered_s())
    }

    /// Length of the load on the clock that orders it, in seconds.
    pub(crate) fn ordered_s(&self) -> f64 {
        self.requests as f64 / self.rate
    }

    pub(crate) fn tick(&mut self) -> Tick {
        let share = self.index as f64 / self.requests as f64;
        self.index += 1;
        let ordered_at_s = match &self.arrivals {
            Arrivals::AtOnce { .. } | Arrivals::Even { .. } => share * self.ordered_s(),
            Arrivals::Poisson { .. } => {
                self.elapsed_s -= (1.0 - self.random.unit()).ln() / self.rate;
                self.elapsed_s
            }
            Arrivals::Opening { curve, .. } => {
                let total = curve.last().map_or(1.0, |(minutes, _)| *minutes);
                minutes_until(curve, share) / total * self.ordered_s()
            }
        };
        let intended_at = if self.at_once {
            Duration::ZERO
        } else {
            seconds(ordered_at_s)
        };
        Tick {
            intended_at,
            ordered_at_s,
        }
    }
}

impl Iterator for Pacer {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        (self.index < self.requests).then(|| self.tick().intended_at)
    }
}

/// Returns the time at which this share of the requests has come: the inverse of the curve, linear between its points.
fn minutes_until(curve: &[(f64, f64)], share: f64) -> f64 {
    let after = curve
        .partition_point(|(_, by_then)| *by_then <= share)
        .clamp(1, curve.len() - 1);
    let ((t0, s0), (t1, s1)) = (curve[after - 1], curve[after]);
    t0 + (t1 - t0) * (share - s0) / (s1 - s0)
}

fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    fn pacer(profile: &str, requests: u64, rate: Option<f64>) -> Pacer {
        Pacer::new(&Profile::named(profile).unwrap().arrivals, requests, rate, 7)
    }

    #[test]
    fn a_burst_comes_at_once_or_evenly_at_the_rate_asked_for() {
        assert!(pacer("burst", 100, None).all(|at| at.is_zero()));
        let at: Vec<_> = pacer("burst", 100, Some(10.0)).collect();
        assert_eq!(
            (at[0], at[1], at[99]),
            (Duration::ZERO, Duration::from_millis(100), Duration::from_millis(9_900))
        );
    }

    #[test]
    fn steady_arrivals_keep_their_rate_on_average() {
        let last = pacer("steady", 100_000, Some(1_000.0)).last().unwrap().as_secs_f64();
        assert!((98.0..102.0).contains(&last), "100 s expected, not {last}");
    }

    #[test]
    fn an_opening_follows_its_curve_in_scaled_time() {
        let pacer = pacer("tatkal", 120_000, Some(1_000.0));
        assert_eq!(pacer.time_scale(), Some(60.0), "two hours in two minutes");
        let at: Vec<_> = pacer.collect();
        let came_by = |minute: f64| at.partition_point(|t| t.as_secs_f64() < minute) as f64 / 120_000.0;
        for (minute, share) in [(1.0, 0.05), (2.0, 0.21), (10.0, 0.62), (60.0, 0.86), (120.0, 1.0)] {
            assert!(
                (came_by(minute) - share).abs() < 1e-3,
                "minute {minute}: {}",
                came_by(minute)
            );
        }
    }

    #[test]
    fn who_is_late_does_not_wait() {
        let ms = Duration::from_millis;
        assert_eq!(wait(ms(10), ms(4)), Some(ms(6)));
        assert_eq!((wait(ms(10), ms(10)), wait(ms(10), ms(99))), (None, None));
    }
}
