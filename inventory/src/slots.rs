//! Values by key, each in a slot that is found once and then known by its number.

use interlock_schemas::Text;
use rustc_hash::FxHashMap;

/// The number of a slot; it stands for the key as long as the value is not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// Values in slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots<V> {
    by_key: FxHashMap<Text, Slot>,
    values: Vec<Option<(Text, V)>>,
    /// Slots without a value, to be used again.
    free: Vec<Slot>,
}

impl<V: Default> Slots<V> {
    /// Returns the slot of a key.
    pub(crate) fn find(&self, key: &str) -> Option<Slot> {
        self.by_key.get(key).copied()
    }

    /// Returns slot and value of a key; an empty value if it is new. A slot that was found earlier saves the look-up.
    pub(crate) fn find_or_add(&mut self, key: &Text, found: Option<Slot>) -> (Slot, &mut V) {
        let holds_key = |slot: &Slot| matches!(self.values.get(slot.index()), Some(Some((held, _))) if held == key);
        let slot = found.filter(holds_key).or_else(|| self.find(key));
        let slot = slot.unwrap_or_else(|| self.add(key));
        let (_, value) = self.values[slot.index()].get_or_insert_with(|| (key.clone(), V::default()));
        (slot, value)
    }

    fn add(&mut self, key: &Text) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.values.push(None);
            Slot((self.values.len() - 1) as u32)
        });
        self.by_key.insert(key.clone(), slot);
        slot
    }

    /// Returns key and value of a slot, unless the value was removed.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<(&Text, &mut V)> {
        let (key, value) = self.values.get_mut(slot.index())?.as_mut()?;
        Some((key, value))
    }

    /// Returns the value of a slot, unless it was removed.
    pub(crate) fn get(&self, slot: Slot) -> Option<&V> {
        self.values.get(slot.index())?.as_ref().map(|(_, value)| value)
    }

    /// Removes a value. Its slot must be forgotten, because another key may get it.
    pub(crate) fn remove(&mut self, key: &str) -> Option<(Slot, V)> {
        let slot = self.by_key.remove(key)?;
        let (_, value) = self.values[slot.index()].take()?;
        self.free.push(slot);
        Some((slot, value))
    }

    /// Removes all values.
    pub(crate) fn clear(&mut self) {
        self.by_key.clear();
        self.values.clear();
        self.free.clear();
    }

    /// Iterates over the keys, in no particular order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Text> {
        self.by_key.keys()
    }
}

impl Slot {
    fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again() {
        let mut slots: Slots<u8> = Slots::default();
        let [a, b] = ["a", "b"].map(|key| slots.find_or_add(&key.into(), None).0);
        for found in [None, Some(a), Some(b)] {
            assert_eq!(slots.find_or_add(&"a".into(), found).0, a);
        }
        *slots.get_mut(b).unwrap().1 = 7;
        assert_eq!(slots.remove("a"), Some((a, 0)));
        assert_eq!((slots.find("a"), slots.get(a)), (None, None));
        assert_eq!(slots.remove("a"), None);
        assert_eq!(slots.find_or_add(&"c".into(), Some(a)).0, a);
        assert_eq!((slots.get(a), slots.get(b)), (Some(&0), Some(&7)));
        assert_eq!(slots.keys().count(), 2);
        slots.clear();
        assert_eq!((slots.get(b), slots.keys().count()), (None, 0));
    }
}
