//! Checks I6: the window tables equal the sums of the events, to the paisa.

use anyhow::{Context as _, Result};
use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int64Type;
use interlock_inventory::invariants::Invariant;

use super::check::{Remains, Violation};

/// The amounts collected and refunded, in minor units.
type Money = [i64; 2];
/// The table and its columns of money.
const TABLE: &str = "revenue_minute";
const COLUMNS: [&str; 2] = ["collected_minor", "refunded_minor"];

impl Remains<'_> {
    /// Returns the part that the windows still lack, if any.
    pub(super) async fn windows_behind(&self) -> Result<Option<String>> {
        let Some((found, expected)) = self.money().await? else {
            return Ok(None);
        };
        let lacks = found.iter().zip(expected).any(|(found, expected)| *found < expected);
        Ok(lacks.then(|| format!("the windows have {found:?}, the events {expected:?}")))
    }

    pub(super) async fn compare_with_windows(&self) -> Result<(), Violation> {
        match self.money().await? {
            Some((found, expected)) if found != expected => Err(Violation::new(
                Invariant::I6,
                format!("the windows have {found:?}, the events {expected:?}"),
            )),
            _ => Ok(()),
        }
    }

    /// Returns the sums in the windows, and the expected ones.
    async fn money(&self) -> Result<Option<(Money, Money)>> {
        let Some(sink) = self.sink else { return Ok(None) };
        let mut found = Money::default();
        if let Some(rows) = sink.rows(TABLE) {
            for (sum, column) in found.iter_mut().zip(COLUMNS) {
                let column = rows.column_by_name(column).context("a column is missing")?;
                let values = column
                    .as_primitive_opt::<Int64Type>()
                    .context("a column of another type")?;
                *sum = (0..values.len())
                    .filter(|row| values.is_valid(*row))
                    .map(|row| values.value(row))
                    .sum();
            }
        }
        let mut expected = Money::default();
        for ledger in 0..self.partitions() {
            for event in self.events(ledger).await? {
                let header = event.header();
                if !header.replay {
                    expected[0] += header.amount_minor.max(0);
                    expected[1] += (-header.amount_minor).max(0);
                }
            }
        }
        Ok(Some((found, expected)))
    }
}
