//! Load profiles: figures with defaults from the public record, in `profiles/*.toml`.

use serde::{Deserialize, Serialize};

const BUILT_IN: [(&str, &str); 4] = [
    ("backlog", include_str!("profiles/backlog.toml")),
    ("burst", include_str!("profiles/burst.toml")),
    ("steady", include_str!("profiles/steady.toml")),
    ("tatkal", include_str!("profiles/tatkal.toml")),
];

/// A kind of load. All shares lie between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Profile {
    /// Name, as on the command line.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// The times at which requests come.
    pub arrivals: Arrivals,
    /// The demand, in relation to the seats on sale.
    pub spread: Spread,
    /// Which trains are popular.
    #[serde(default)]
    pub trains: Trains,
    /// Which part of a route is travelled.
    #[serde(default)]
    pub segments: Segments,
    /// Shares of bookings for 1, 2, 3, … passengers.
    #[serde(default = "party_sizes")]
    pub party_sizes: Vec<f64>,
    /// The behaviour of clients.
    #[serde(default)]
    pub clients: Clients,
    #[serde(default)]
    pub cancellations: Cancellations,
    /// Preferences and other wishes.
    #[serde(default)]
    pub wishes: Wishes,
}

/// The times at which requests come. Rates are requests per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
pub enum Arrivals {
    /// All at once; with a rate asked for, evenly at that rate.
    AtOnce {
        /// Rate of the imagined clock by which repetitions and cancellations are ordered.
        ordering_rate: f64,
    },
    /// Evenly spaced.
    Even {
        /// Unless another is asked for.
        rate: f64,
    },
    /// At random (a Poisson process) with a constant mean.
    Poisson {
        /// Unless another is asked for.
        rate: f64,
    },
    /// By the curve of a sale's opening.
    Opening {
        /// Mean rate, unless another is asked for.
        rate: f64,
        /// (Minutes since the opening, share of the requests that came by then), ascending from (0, 0) to a share of 1.
        curve: Vec<(f64, f64)>,
    },
}

/// The number of train-dates in the load: the smallest that fulfils these limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Spread {
    /// Expected share of bookings that are confirmed.
    Confirmed(f64),
    /// Maximum number of passengers who ask for each seat.
    Offered(f64),
}

/// Which trains are popular.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trains {
    /// Most trains that are asked for.
    pub max: usize,
    /// Fewest, so that even a small load meets several ledgers.
    pub min: usize,
    /// Exponent s of Zipf's law: the n-th most popular train is asked for n^−s as often as the first.
    pub zipf_exponent: f64,
    /// Adversarial: the share of one train; the law holds for the others. 0: none.
    pub hot_share: f64,
}

impl Default for Trains {
    fn default() -> Trains {
        Trains {
            max: 200,
            min: 12,
            zipf_exponent: 1.0,
            hot_share: 0.0,
        }
    }
}

/// Which part of a route is travelled; the shares add up to 1. Routes too short for a kind fall back to the one before
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Segments {
    /// From the first stop to the last.
    pub full_run: f64,
    /// From the first stop, or to the last, but not both.
    pub one_end: f64,
    /// Neither.
    pub inner: f64,
}

impl Default for Segments {
    fn default() -> Segments {
        Segments {
            full_run: 0.5,
            one_end: 0.3,
            inner: 0.2,
        }
    }
}

/// The behaviour of clients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clients {
    /// Share of requests that are sent again with the same key and body.
    pub resend: f64,
    /// The latest that this happens, in seconds.
    pub resend_within_s: f64,
    /// Share of requests that are sent again with the same key and another body.
    pub altered: f64,
    /// Share of bookings that break a rule: an unknown station, too many passengers, stations out of order, no such
    /// class.
    pub malformed: f64,
    /// Bookings of one user, on average.
    pub bookings_per_user: f64,
}

impl Default for Clients {
    fn default() -> Clients {
        Clients {
            resend: 0.15,
            resend_within_s: 5.0,
            altered: 0.01,
            malformed: 0.02,
            bookings_per_user: 3.0,
        }
    }
}

/// The cancellations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cancellations {
    /// Share of the bookings that are expected to be confirmed.
    pub confirmed: f64,
    /// Share of the bookings that are expected to wait.
    pub waiting: f64,
    /// Share of cancellations by parties of several that name one passenger only.
    pub partial: f64,
    /// Number of bursts in which cancellations come, over the whole load.
    pub bursts: u32,
}

impl Default for Cancellations {
    fn default() -> Cancellations {
        Cancellations {
            confirmed: 0.19,
            waiting: 0.5,
            partial: 0.1,
            bursts: 20,
        }
    }
}

/// Preferences and other wishes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wishes {
    /// Share of passengers who would like a certain berth.
    pub soft: f64,
    /// Share of passengers who take no other. Only single travellers are that strict.
    pub hard: f64,
    /// Share of parties that take seats for some of them.
    pub partial_confirmation: f64,
    /// Share of the requests for TQ on trains that have it; none: as its share of the seats.
    pub tatkal: Option<f64>,
}

impl Default for Wishes {
    fn default() -> Wishes {
        Wishes {
            soft: 0.3,
            hard: 0.01,
            partial_confirmation: 0.05,
            tatkal: None,
        }
    }
}

fn party_sizes() -> Vec<f64> {
    vec![0.54, 0.28, 0.09, 0.06, 0.015, 0.015]
}

/// The reason why a profile is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// No built-in profile has this name.
    #[error("there is no profile `{name}`; choose one of {}", Profile::names().join(", "))]
    Unknown {
        /// The requested name.
        name: String,
    },
    /// It isn't TOML, or not of a profile's shape.
    #[error("the profile can't be read: {0}")]
    Toml(#[from] toml::de::Error),
    /// A figure makes no sense.
    #[error("profile `{profile}`: {field} is {value}, but must {rule}")]
    Figure {
        /// Name of the profile.
        profile: String,
        /// The field, such as `clients.resend`.
        field: &'static str,
        /// The stated value.
        value: String,
        /// The condition that the value must meet.
        rule: &'static str,
    },
}

impl Profile {
    /// Names of the built-in profiles.
    pub fn names() -> Vec<&'static str> {
        BUILT_IN.iter().map(|(name, _)| *name).collect()
    }

    /// A built-in profile.
    pub fn named(name: &str) -> Result<Profile, ProfileError> {
        let found = BUILT_IN.iter().find(|(candidate, _)| *candidate == name);
        let (_, text) = found.ok_or_else(|| ProfileError::Unknown { name: name.to_owned() })?;
        Profile::from_toml(text)
    }

    /// Reads and checks a profile.
    pub fn from_toml(text: &str) -> Result<Profile, ProfileError> {
        let profile: Profile = toml::from_str(text)?;
        profile.check()?;
        Ok(profile)
    }

    /// Mean number of passengers of a booking.
    pub fn party_mean(&self) -> f64 {
        self.party_sizes
            .iter()
            .zip(1..)
            .map(|(share, size)| share * f64::from(size))
            .sum()
    }

    /// Checks all figures; [`crate::Workload::new`] relies on it.
    pub fn check(&self) -> Result<(), ProfileError> {
        let (clients, cancel, wishes) = (self.clients, self.cancellations, self.wishes);
        for (field, share) in [
            ("trains.hot_share", self.trains.hot_share),
            ("segments.full_run", self.segments.full_run),
            ("segments.one_end", self.segments.one_end),
            ("segments.inner", self.segments.inner),
            ("clients.resend", clients.resend),
            ("clients.altered", clients.altered),
            ("clients.malformed", clients.malformed),
            ("cancellations.confirmed", cancel.confirmed),
            ("cancellations.waiting", cancel.waiting),
            ("cancellations.partial", cancel.partial),
            ("wishes.soft", wishes.soft),
            ("wishes.hard", wishes.hard),
            ("wishes.partial_confirmation", wishes.partial_confirmation),
            ("wishes.tatkal", wishes.tatkal.unwrap_or(0.0)),
        ] {
            self.figure((0.0..=1.0).contains(&share), field, share, "lie between 0 and 1")?;
        }
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let segments = self.segments.full_run + self.segments.one_end + self.segments.inner;
        self.figure(is_one(segments), "segments", segments, "add up to 1")?;
        let parties: f64 = self.party_sizes.iter().sum();
        let sizes_fine = is_one(parties) && self.party_sizes.iter().all(|share| *share >= 0.0);
        self.figure(sizes_fine, "party_sizes", parties, "be shares that add up to 1")?;
        let zipf = self.trains.zipf_exponent;
        self.figure(
            (0.0..=10.0).contains(&zipf),
            "trains.zipf_exponent",
            zipf,
            "lie between 0 and 10",
        )?;
        self.figure(
            self.trains.max > 0,
            "trains.max",
            self.trains.max as f64,
            "be 1 or more",
        )?;
        let within = clients.resend_within_s;
        self.figure(
            within.is_finite() && within >= 0.0,
            "clients.resend_within_s",
            within,
            "not be negative",
        )?;
        let each = clients.bookings_per_user;
        self.figure(positive(each), "clients.bookings_per_user", each, "be more than 0")?;
        self.figure(
            cancel.bursts > 0,
            "cancellations.bursts",
            f64::from(cancel.bursts),
            "be 1 or more",
        )?;
        match self.spread {
            Spread::Confirmed(share) => {
                self.figure(
                    (0.0..=1.0).contains(&share),
                    "spread.confirmed",
                    share,
                    "lie between 0 and 1",
                )?;
            }
            Spread::Offered(load) => self.figure(positive(load), "spread.offered", load, "be more than 0")?,
        }
        match &self.arrivals {
            Arrivals::AtOnce { ordering_rate: rate } | Arrivals::Even { rate } | Arrivals::Poisson { rate } => {
                self.figure(positive(*rate), "arrivals.rate", *rate, "be more than 0")
            }
            Arrivals::Opening { rate, curve } => {
                self.figure(positive(*rate), "arrivals.rate", *rate, "be more than 0")?;
                let rule = "ascend from (0, 0) to a share of 1";
                self.figure(is_curve(curve), "arrivals.curve", curve.len() as f64, rule)
            }
        }
    }

    fn figure(&self, fine: bool, field: &'static str, value: f64, rule: &'static str) -> Result<(), ProfileError> {
        if fine {
            return Ok(());
        }
        let (profile, value) = (self.name.clone(), value.to_string());
        Err(ProfileError::Figure {
            profile,
            field,
            value,
            rule,
        })
    }
}

fn is_one(sum: f64) -> bool {
    (sum - 1.0).abs() < 1e-6
}

fn is_curve(curve: &[(f64, f64)]) -> bool {
    curve.len() >= 2
        && curve.first() == Some(&(0.0, 0.0))
        && curve.last().is_some_and(|(_, share)| *share == 1.0)
        && curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_profiles_are_valid_and_named_like_their_files() {
        for name in Profile::names() {
            assert_eq!(Profile::named(name).unwrap().name, name);
        }
        let mean = Profile::named("burst").unwrap().party_mean();
        assert!((mean - 1.78).abs() < 0.01, "the public record says 1.78, not {mean}");
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = Profile::named("rush").unwrap_err().to_string();
        assert!(unknown.contains("`rush`") && unknown.contains("tatkal"), "{unknown}");
        let text = include_str!("profiles/steady.toml");
        let wrong = Profile::from_toml(&format!("{text}\n[clients]\nresend = 1.5"))
            .unwrap_err()
            .to_string();
        assert!(wrong.contains("clients.resend is 1.5"), "{wrong}");
        assert!(
            Profile::from_toml(&format!("{text}\n[clients]\nresent = 0.5")).is_err(),
            "unknown fields"
        );
        let rate = text.replace("530.0", "nan");
        assert!(Profile::from_toml(&rate).is_err(), "a rate must be a number");
    }
}
