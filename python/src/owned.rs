//! What only the process may drop that has made it.

use std::mem;
use std::ops::Deref;

use crate::runtime;

/// A value with connections in it. After a fork the child has a copy of it, whose drop would
/// take the parent's connections out of the parent's runtime: the two share what watches
/// them. There it is forgotten in place of dropped.
#[derive(Debug)]
pub(crate) struct Owned<T>(Option<T>);

impl<T> Owned<T> {
    pub(crate) fn new(value: T) -> Owned<T> {
        Owned(Some(value))
    }

    /// The value itself, from now on in the hands of a thread, which no child has.
    pub(crate) fn into_inner(mut self) -> T {
        self.0.take().expect(THERE)
    }
}

/// Why there always is a value.
const THERE: &str = "only what ends the owner takes it";

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect(THERE)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if runtime::is_forked() {
            mem::forget(self.0.take());
        }
    }
}
