//! Parts of a state that the states after it share until they change.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use super::super::explore::fingerprint;

/// A shared part, whose hash is computed once.
#[derive(Debug, Default)]
pub(super) struct Shared<T>(Rc<Hashed<T>>);

#[derive(Clone, Debug, Default)]
struct Hashed<T> {
    value: T,
    /// The hash; 0 if it was not computed yet.
    hash: Cell<u64>,
}

/// Returns a part for changing. Other states keep the part as it is.
pub(super) fn edit<T: Clone>(shared: &mut Shared<T>) -> &mut T {
    let hashed = Rc::make_mut(&mut shared.0);
    hashed.hash.set(0);
    &mut hashed.value
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared(Rc::clone(&self.0))
    }
}

impl<T> std::ops::Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.value == other.0.value
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if self.0.hash.get() == 0 {
            self.0.hash.set(fingerprint(&self.0.value));
        }
        self.0.hash.get().hash(state);
    }
}
