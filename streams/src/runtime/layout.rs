//! The layouts of keys over ledgers: the present one and earlier ones.
//!
//! The number of ledgers decides which ledger a key belongs to. When it grows, keys move to other ledgers. Their events
//! stay in their partitions, so sequences have no gaps and no consumer sees an event twice. Instead, each partition
//! records up to which offset each layout held. A ledger's state is the fold of its keys' events under the first
//! layout, in whichever partitions they are, then under the second, and so on.
//!
//! The layouts are in the metadata of the committed offsets. [`super::repartition`] writes it for all partitions in one
//! transaction: a layout begins for all ledgers or for none, and it is known even if the store is lost.

use std::fmt;

use crate::log::murmur2::partition_for_key;

/// The layouts of a topic's ledgers, as one of its partitions has seen them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layouts {
    /// The layouts that ended, oldest first.
    pub past: Vec<PastLayout>,
    /// Ledgers now.
    pub ledgers: i32,
    /// First count of the numbers that all ledgers give together (`LedgerProcessor::renumber`).
    pub first_number: i64,
}

/// A layout that ended, and where it did so in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastLayout {
    /// Ledgers there were.
    pub ledgers: i32,
    /// Input records below this offset, and not below the end of the layout before, were decided under it.
    pub end_offset: i64,
    /// Sequence of the last event of these records.
    pub end_sequence: i64,
}

impl Layouts {
    /// Returns the first layout, with this number of ledgers.
    pub fn first(ledgers: i32) -> Self {
        Self {
            past: Vec::new(),
            ledgers,
            first_number: 0,
        }
    }

    /// Reads what `Display` writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let count = |text: &str| text.parse().ok().filter(|count: &i32| *count > 0);
        let (past, present) = match text.rsplit_once(',') {
            Some((past, present)) => (past.split(',').collect(), present),
            None => (Vec::new(), text),
        };
        let past = past.into_iter().map(|past| {
            let mut fields = past.splitn(3, ':');
            Some(PastLayout {
                ledgers: count(fields.next()?)?,
                end_offset: fields.next()?.parse().ok()?,
                end_sequence: fields.next()?.parse().ok()?,
            })
        });
        let (ledgers, first_number) = present.split_once('@')?;
        Some(Self {
            past: past.collect::<Option<_>>()?,
            ledgers: count(ledgers)?,
            first_number: first_number.parse().ok()?,
        })
    }

    /// Returns the ledger that a key belongs to.
    pub fn ledger_of(&self, key: &[u8]) -> i32 {
        partition_for_key(key, self.ledgers)
    }

    /// The ledger that a key belonged to when the input record at this offset was decided.
    pub fn ledger_at(&self, offset: i64, key: &[u8]) -> i32 {
        partition_for_key(key, self.ledgers_at(offset))
    }

    fn ledgers_at(&self, offset: i64) -> i32 {
        let decided_under = self.past.iter().find(|past| offset < past.end_offset);
        decided_under.map_or(self.ledgers, |past| past.ledgers)
    }

    /// Sequence of the last event before the present layout; 0 without one.
    pub fn began_after(&self) -> i64 {
        self.past.last().map_or(0, |past| past.end_sequence)
    }

    /// Ledgers of a past layout that may hold events of this ledger's keys: those that leave the same remainder by the
    /// greatest common divisor of both numbers.
    pub fn holders(&self, past: &PastLayout, ledger: i32) -> impl Iterator<Item = i32> + use<> {
        let divisor = greatest_common_divisor(past.ledgers, self.ledgers);
        (0..past.ledgers).filter(move |holder| holder % divisor == ledger % divisor)
    }
}

fn greatest_common_divisor(a: i32, b: i32) -> i32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// `8:1200:5321,16@700`: eight ledgers up to offset 1200 and event 5321, sixteen now, numbers from 700 on.
impl fmt::Display for Layouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for past in &self.past {
            write!(f, "{}:{}:{},", past.ledgers, past.end_offset, past.end_sequence)?;
        }
        write!(f, "{}@{}", self.ledgers, self.first_number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown_twice() -> Layouts {
        let past = |ledgers, end_offset, end_sequence| PastLayout {
            ledgers,
            end_offset,
            end_sequence,
        };
        Layouts {
            past: vec![past(4, 100, 150), past(6, 100, 150), past(8, 300, 420)],
            ledgers: 12,
            first_number: 77,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = grown_twice().to_string();
        assert_eq!(text, "4:100:150,6:100:150,8:300:420,12@77");
        assert_eq!(Layouts::parse(&text), Some(grown_twice()));
        for wrong in ["", "8", "@1", "0@0", "4:1,8@0", "4:1:2:3,8@0", "x:1:2,8@0", "4:1:2,8@"] {
            assert_eq!(Layouts::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_record_belongs_to_the_layout_that_had_not_ended() {
        let layouts = grown_twice();
        // Nothing was decided here while there were six.
        assert_eq!(
            [0, 99, 100, 299, 300].map(|offset| layouts.ledgers_at(offset)),
            [4, 4, 8, 8, 12]
        );
        assert_eq!(layouts.began_after(), 420);
    }

    #[test]
    fn whoever_may_hold_a_key_is_asked() {
        for (before, now) in [(4, 8), (4, 6), (5, 7), (1, 3), (8, 12)] {
            let past = PastLayout {
                ledgers: before,
                end_offset: 0,
                end_sequence: 0,
            };
            let layouts = Layouts {
                past: vec![past.clone()],
                ledgers: now,
                first_number: 0,
            };
            for number in 0..2_000 {
                let key = format!("{number}|2026-12-01");
                let holder = partition_for_key(key.as_bytes(), before);
                let asked: Vec<i32> = layouts.holders(&past, layouts.ledger_of(key.as_bytes())).collect();
                assert!(
                    asked.contains(&holder),
                    "{before} to {now}: {key} of {holder} in {asked:?}"
                );
            }
            let asked: usize = (0..now).map(|ledger| layouts.holders(&past, ledger).count()).sum();
            assert_eq!(asked as i32, before * now / greatest_common_divisor(before, now));
        }
    }
}
