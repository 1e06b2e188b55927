//! The lineage of a ledger: the token that decided each range of sequences.

use super::Token;

/// The token that decided each range of sequences, ascending: `[(first sequence, token)]`.
///
/// Only the entries that a comparison can need are kept: the one in force at the last committed sequence and those
/// after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage(pub Vec<(i64, Token)>);

impl Lineage {
    /// The token that decided an event; none before the first entry that is kept.
    pub fn token_at(&self, sequence: i64) -> Option<&Token> {
        self.0
            .iter()
            .rev()
            .find(|(first, _)| *first <= sequence)
            .map(|(_, token)| token)
    }

    /// The token that decided the last event.
    pub fn last(&self) -> Option<&Token> {
        self.0.last().map(|(_, token)| token)
    }

    /// Records that `token` decided `first` and the sequences after it.
    pub(crate) fn extend(&mut self, first: i64, token: &Token) {
        if self.last() != Some(token) {
            self.0.push((first, token.clone()));
        }
    }

    /// Removes entries that no comparison needs once `committed` is known to be committed in the log: a later read of
    /// the log's metadata never names an earlier sequence.
    pub(crate) fn prune(&mut self, committed: i64) {
        let in_force = self.0.iter().rposition(|(first, _)| *first <= committed).unwrap_or(0);
        self.0.drain(..in_force);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> Token {
        Token(name.into())
    }

    #[test]
    fn the_token_in_force_is_the_last_that_began_at_or_before() {
        let mut lineage = Lineage::default();
        lineage.extend(1, &token("a"));
        lineage.extend(4, &token("a"));
        lineage.extend(7, &token("b"));
        assert_eq!(lineage.0.len(), 2);
        assert_eq!(lineage.token_at(0), None);
        assert_eq!(lineage.token_at(6), Some(&token("a")));
        assert_eq!(lineage.token_at(7), Some(&token("b")));
        assert_eq!(lineage.last(), Some(&token("b")));
    }

    #[test]
    fn pruning_keeps_the_entry_in_force_at_the_committed_sequence() {
        let mut lineage = Lineage(vec![(1, token("a")), (7, token("b")), (9, token("c"))]);
        lineage.prune(8);
        assert_eq!(lineage.0, vec![(7, token("b")), (9, token("c"))]);
        lineage.prune(0);
        assert_eq!(lineage.0.len(), 2);
    }
}
