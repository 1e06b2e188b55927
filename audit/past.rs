//! The decisions of other ledgers about a ledger's train-dates, before a repartitioning.

use std::collections::BTreeMap;
use std::sync::Arc;

use interlock_streams::runtime::Layouts;

use super::ledger::{Committed, LedgerCheck};
use super::reading::{LedgerEvents, Reached};
use crate::AuditError;

/// The events of a ledger's train-dates under past layouts.
pub(crate) struct Past {
    ledger: i32,
    layouts: Option<Arc<Layouts>>,
    /// The other ledgers that may have decided some of them.
    others: BTreeMap<i32, LedgerEvents>,
    /// For each past layout, the ledgers that may have decided some of them, and the offset up to which each did.
    stages: Vec<Vec<(i32, i64)>>,
}

impl Past {
    /// Opens the events of all ledgers that may have decided some. `committed` has the positions of all ledgers.
    pub(crate) async fn open<F: Future<Output = crate::Result<LedgerEvents>>>(
        ledger: i32,
        committed: &[Committed],
        open: impl Fn(i32) -> F,
    ) -> crate::Result<Past> {
        let of = |ledger: i32| usize::try_from(ledger).ok().and_then(|at| committed.get(at)?.layouts());
        let mut past = Past {
            ledger,
            layouts: of(ledger).cloned(),
            others: BTreeMap::new(),
            stages: Vec::new(),
        };
        let Some(layouts) = past.layouts.clone() else {
            return Ok(past);
        };
        for (index, ended) in layouts.past.iter().enumerate() {
            let mut stage = Vec::new();
            for holder in layouts.holders(ended, ledger) {
                let end = of(holder).and_then(|layouts| layouts.past.get(index));
                let end = end.ok_or_else(|| {
                    AuditError::Installation(format!(
                        "the committed offset of partition {holder} doesn't say where the layout of {} ledgers ended: it was \
                         lost, or written by hand",
                        ended.ledgers
                    ))
                })?;
                stage.push((holder, end.end_offset));
                if holder != ledger && !past.others.contains_key(&holder) {
                    past.others.insert(holder, open(holder).await?);
                }
            }
            past.stages.push(stage);
        }
        Ok(past)
    }

    /// Returns the positions up to which the others' topics were read.
    pub(crate) fn reached(&self) -> impl Iterator<Item = Reached> {
        self.others.iter().flat_map(|(holder, events)| events.reached(*holder))
    }

    /// Reads all these events, and those of the ledger's own that belong in between.
    pub(crate) async fn read(&mut self, own: &mut LedgerEvents, check: &mut LedgerCheck) -> crate::Result<()> {
        for (holder, end) in self.stages.iter().flatten() {
            if *holder == self.ledger {
                while let Some(found) = own.next_below(*end).await? {
                    check.read(&found);
                }
            } else if let Some(events) = self.others.get_mut(holder) {
                while let Some(found) = events.next_below(*end).await? {
                    // The ledger that decided an unreadable event reports it.
                    match &found.event {
                        Ok(event) => check.observe_elsewhere(event),
                        Err(reason) => check.cannot_be_folded(*holder, &reason.0),
                    }
                }
            }
        }
        if self.layouts.is_some() {
            check.begin_layout();
        }
        Ok(())
    }
}
