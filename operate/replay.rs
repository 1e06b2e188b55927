//! Has workers derive ledgers or windows from the events again.
//!
//! Only workers write. A procedure marks a ledger, or removes windows and positions together, in one step that fences
//! the present owners; the workers then do the same as after a loss. The procedure is therefore as safe as the loss of
//! a server, can be interrupted at any moment, and runs while everything else works. Only a change of the number of
//! ledgers requires that all workers have stopped.

mod ledgers;
mod repartition;
#[cfg(feature = "timescale")]
mod windows;

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

pub use ledgers::Ledgers;
pub use repartition::Growth;
#[cfg(feature = "timescale")]
pub use windows::Windows;

/// Pause between two checks of the workers' progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// The result of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Workers have done all of it.
    Done,
    /// Workers did not finish in the given time; the text names the rest.
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
