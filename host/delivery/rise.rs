//! Whether something that is counted rises now, since when, and by how much of what. It must not know what is counted.

use std::collections::BTreeMap;

use super::retry::Millis;

/// A rise is over when nothing more was found for so long.
pub const QUIET_MS: u64 = 5 * 60_000;

/// Counts that only grow, looked at again and again.
#[derive(Debug, Default)]
pub struct Rise {
    /// At the last look, by what they are of.
    seen: BTreeMap<&'static str, u64>,
    rising: Option<Rising>,
}

/// A rise that goes on: between two looks that found more lies no more than [`QUIET_MS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rising {
    /// How much was added, by what it is of.
    pub by: BTreeMap<&'static str, u64>,
    /// The first look that found more.
    pub since: Millis,
    /// The last one.
    pub last: Millis,
}

impl Rise {
    /// Takes a look. What was never seen counts from nothing.
    pub fn look(&mut self, counts: impl IntoIterator<Item = (&'static str, u64)>, at: Millis) {
        for (of, count) in counts {
            let before = self.seen.insert(of, count).unwrap_or(0);
            let added = count.saturating_sub(before);
            if added == 0 {
                continue;
            }
            let goes_on = self.rising.take().filter(|rising| !rising.is_over(at));
            let rising = self.rising.insert(goes_on.unwrap_or_else(|| Rising {
                by: BTreeMap::new(),
                since: at,
                last: at,
            }));
            rising.last = at;
            *rising.by.entry(of).or_default() += added;
        }
    }

    /// The rise that goes on at this time.
    #[must_use]
    pub fn rising(&self, at: Millis) -> Option<&Rising> {
        self.rising.as_ref().filter(|rising| !rising.is_over(at))
    }
}

impl Rising {
    fn is_over(&self, at: Millis) -> bool {
        at.0.saturating_sub(self.last.0) > QUIET_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rising<const N: usize>(by: [(&'static str, u64); N], since: u64, last: u64) -> Rising {
        Rising {
            by: by.into(),
            since: Millis(since),
            last: Millis(last),
        }
    }

    #[test]
    fn a_rise_is_told_from_the_first_more_until_it_was_quiet_for_long_enough() {
        let mut rise = Rise::default();
        rise.look([("reject", 0), ("trap", 0)], Millis(10));
        assert_eq!(rise.rising(Millis(10)), None);
        rise.look([("reject", 3), ("trap", 0)], Millis(1_000));
        rise.look([("reject", 3), ("trap", 1)], Millis(2_000));
        rise.look([("reject", 3), ("trap", 1)], Millis(3_000));
        let expected = rising([("reject", 3), ("trap", 1)], 1_000, 2_000);
        assert_eq!(rise.rising(Millis(2_000 + QUIET_MS)), Some(&expected));
        assert_eq!(rise.rising(Millis(2_001 + QUIET_MS)), None);
    }

    #[test]
    fn a_rise_that_pauses_goes_on_and_one_that_was_over_begins_anew() {
        let mut rise = Rise::default();
        rise.look([("reject", 3)], Millis(1_000));
        let paused = 1_000 + QUIET_MS;
        rise.look([("reject", 4)], Millis(paused));
        let expected = rising([("reject", 4)], 1_000, paused);
        assert_eq!(rise.rising(Millis(paused)), Some(&expected));
        let later = 2_000 + 2 * QUIET_MS;
        rise.look([("reject", 5)], Millis(later));
        let expected = rising([("reject", 1)], later, later);
        assert_eq!(rise.rising(Millis(later)), Some(&expected));
    }
}
