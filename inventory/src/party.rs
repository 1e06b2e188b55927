//! Some passengers of a booking.

/// A set of passengers of a booking, by index; a booking has at most [`crate::PASSENGERS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Party(u8);

impl Party {
    /// Room for indices 0 to 7.
    pub(crate) const INDEX_MAX: u8 = 7;

    pub(crate) fn add(&mut self, index: u8) {
        self.0 |= 1 << (index & Self::INDEX_MAX);
    }

    pub(crate) fn contains(self, index: u8) -> bool {
        self.0 >> (index & Self::INDEX_MAX) & 1 == 1
    }

    pub(crate) fn without(self, others: Party) -> Party {
        Party(self.0 & !others.0)
    }

    pub(crate) fn size(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn indices(self) -> impl Iterator<Item = u8> {
        (0..=Self::INDEX_MAX).filter(move |&index| self.contains(index))
    }
}

impl FromIterator<u8> for Party {
    fn from_iter<I: IntoIterator<Item = u8>>(indices: I) -> Party {
        let mut party = Party::default();
        indices.into_iter().for_each(|index| party.add(index));
        party
    }
}
