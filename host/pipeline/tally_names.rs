//! The names of an assignment's sums, known to its lanes as well as to the settling thread: a lane refuses what
//! would make too many of them before its event succeeds.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The names of one assignment, shared by its threads.
#[derive(Debug, Default)]
pub(crate) struct TallyNames {
    max: usize,
    names: Mutex<HashSet<String>>,
    /// Rises when names go, so that lanes ask again.
    taken: AtomicU64,
}

impl TallyNames {
    pub(crate) fn new(max: usize, names: impl Iterator<Item = String>) -> Self {
        Self {
            max,
            names: Mutex::new(names.collect()),
            taken: AtomicU64::new(0),
        }
    }

    /// How many there may be.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Makes room for these names. Says whether there is room for all; for none is any made otherwise.
    fn reserve(&self, names: &HashSet<&str>) -> bool {
        let mut known = self.lock();
        let new = names.iter().filter(|name| !known.contains(**name));
        if known.len() + new.count() > self.max {
            return false;
        }
        known.extend(names.iter().map(|name| (*name).to_owned()));
        true
    }

    /// A sum of this name is there. It may have been taken since a lane made room for it.
    pub(crate) fn added(&self, name: &str) {
        let mut known = self.lock();
        if !known.contains(name) {
            known.insert(name.to_owned());
        }
    }

    /// Sums were taken; those of these names are left.
    pub(crate) fn left<'n>(&self, names: impl Iterator<Item = &'n String>) {
        *self.lock() = names.cloned().collect();
        self.taken.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one lane knows of them, so that it asks for each name once.
#[derive(Debug, Default)]
pub(crate) struct KnownTallies(HashMap<u64, (u64, HashSet<String>)>);

impl KnownTallies {
    /// Makes room for the names of an assignment that a call has used.
    ///
    /// # Errors
    /// There would be too many.
    pub(crate) fn make_room<'n>(
        &mut self,
        assignment: u64,
        shared: &TallyNames,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<(), ()> {
        let taken = shared.taken.load(Ordering::Acquire);
        let (as_of, known) = self.0.entry(assignment).or_default();
        if *as_of != taken {
            known.clear();
            *as_of = taken;
        }
        let unknown: HashSet<&str> = names.filter(|name| !known.contains(*name)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        if !shared.reserve(&unknown) {
            return Err(());
        }
        known.extend(unknown.into_iter().map(str::to_owned));
        Ok(())
    }

    /// Forgets assignments that are given up.
    pub(crate) fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.0.retain(|assignment, _| keep(*assignment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make_room(lane: &mut KnownTallies, shared: &TallyNames, names: &[&str]) -> bool {
        lane.make_room(7, shared, names.iter().copied()).is_ok()
    }

    #[test]
    fn names_are_bounded_over_all_lanes_until_they_are_taken() {
        let shared = TallyNames::new(3, ["stored".to_owned()].into_iter());
        let (mut one, mut other) = (KnownTallies::default(), KnownTallies::default());
        assert!(make_room(&mut one, &shared, &["a", "a", "stored"]));
        assert!(make_room(&mut other, &shared, &["a", "b"]));
        assert!(!make_room(&mut one, &shared, &["c"]), "there are three");
        assert!(!make_room(&mut other, &shared, &["a", "c"]));
        assert!(
            make_room(&mut one, &shared, &["b", "a"]),
            "those there are go on"
        );
        shared.left([&"b".to_owned()].into_iter());
        assert!(make_room(&mut one, &shared, &["c", "d"]));
        assert!(
            !make_room(&mut other, &shared, &["a"]),
            "it was taken and has no room"
        );
    }

    #[test]
    fn a_refused_call_takes_no_room() {
        let shared = TallyNames::new(2, std::iter::empty());
        let mut lane = KnownTallies::default();
        assert!(!make_room(&mut lane, &shared, &["a", "b", "c"]));
        assert!(make_room(&mut lane, &shared, &["d", "e"]));
    }

    #[test]
    fn a_sum_that_settles_after_it_was_taken_counts_again() {
        let shared = TallyNames::new(1, std::iter::empty());
        let mut lane = KnownTallies::default();
        assert!(make_room(&mut lane, &shared, &["a"]));
        shared.left(std::iter::empty());
        shared.added("a");
        assert!(!make_room(&mut lane, &shared, &["b"]));
        assert!(make_room(&mut lane, &shared, &["a"]));
    }
}
