//! Derives anew what workers derive from events: ledgers, and windows.
//!
//! Nothing is written beside the workers. A ledger is marked, or windows and positions are removed together, in one step
//! that fences whoever holds them; the workers then do what they do after a loss. So it is as safe as the loss of a server,
//! may be interrupted at any moment, and goes on while the rest works. Only a change of the number of ledgers needs all workers
//! to have stopped.

mod ledgers;
mod repartition;

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

pub use ledgers::Ledgers;
pub use repartition::Growth;

/// Pause between two looks at how far workers are.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// How far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Workers have done all of it.
    Done,
    /// Not within the time given; what is left.
    Begun(String),
}

/// Partitions, written as `3` or `0-5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitions(pub RangeInclusive<i32>);

impl FromStr for Partitions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse::<i32>().ok().filter(|number| *number >= 0);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self(first..=last)),
            _ => Err("expected partitions such as 3 or 0-5".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_one_or_several() {
        assert_eq!("3".parse(), Ok(Partitions(3..=3)));
        assert_eq!("0-5".parse(), Ok(Partitions(0..=5)));
        for wrong in ["", "a", "5-0", "-1", "1-", "1-2-3"] {
            assert!(wrong.parse::<Partitions>().is_err(), "{wrong}");
        }
    }
}
