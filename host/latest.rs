//! What is changed in one place and looked at in many: the latest state of something. Whoever looks pays one atomic load
//! while it is the same. It must not know what is changed, or who looks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Where the latest state lies.
#[derive(Debug, Default)]
pub(crate) struct Latest<T> {
    current: RwLock<Arc<T>>,
    /// Rises with every change.
    generation: AtomicU64,
}

/// The state as one thread saw it last.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    latest: Arc<Latest<T>>,
    generation: u64,
    pub(crate) now: Arc<T>,
}

impl<T> Latest<T> {
    pub(crate) fn new(first: T) -> Self {
        Self {
            current: RwLock::new(Arc::new(first)),
            generation: AtomicU64::new(0),
        }
    }

    /// The state at this moment.
    pub(crate) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts what is made of the state in its place. False where nothing is made of it.
    pub(crate) fn change(&self, change: impl FnOnce(&T) -> Option<T>) -> bool {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let Some(next) = change(&current) else {
            return false;
        };
        *current = Arc::new(next);
        self.generation.fetch_add(1, Ordering::Release);
        true
    }

    /// As it is seen now.
    pub(crate) fn seen(self: &Arc<Self>) -> Seen<T> {
        Seen {
            // Before the state itself: what changes in between is taken up at the next look.
            generation: self.generation.load(Ordering::Acquire),
            now: self.current(),
            latest: Arc::clone(self),
        }
    }
}

impl<T> Seen<T> {
    /// Takes up the state that holds from now on. Says whether that is another one.
    #[inline]
    pub(crate) fn refresh(&mut self) -> bool {
        let generation = self.latest.generation.load(Ordering::Acquire);
        if generation == self.generation {
            return false;
        }
        self.generation = generation;
        self.now = self.latest.current();
        true
    }
}

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self {
            latest: Arc::clone(&self.latest),
            generation: self.generation,
            now: Arc::clone(&self.now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_looks_is_told_of_a_change_once_and_keeps_what_was_until_then() {
        let latest = Arc::new(Latest::new(1));
        let mut seen = latest.seen();
        assert!(!seen.refresh());
        assert!(latest.change(|now| Some(now + 1)));
        assert!(!latest.change(|_| None));
        assert_eq!((*seen.now, *latest.current()), (1, 2));
        let mut other = seen.clone();
        assert!(seen.refresh() && !seen.refresh());
        assert_eq!(*seen.now, 2);
        assert!(other.refresh() && !latest.seen().refresh());
    }
}
