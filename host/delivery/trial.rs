//! When a candidate may take the place of the version that serves, and when it must not. Rules only: it must not
//! know what a version is or how events are handled.

use super::lanes::OrderGroup;

/// What part of the order groups a candidate handles, of one million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// All of them.
    pub const WHOLE: u32 = 1_000_000;

    /// Of one million; more counts as all.
    #[must_use]
    pub fn of_a_million(parts: u32) -> Self {
        Self(parts.min(Self::WHOLE))
    }

    /// Of one million.
    #[must_use]
    pub fn parts(self) -> u32 {
        self.0
    }

    /// Whether the candidate handles this group: always the same answer for one group, and another one than
    /// that which chooses its lane.
    #[must_use]
    pub fn takes(self, group: OrderGroup) -> bool {
        // The multiplier is that of MurmurHash3's last step; its upper bits depend on all bits of the group.
        let mixed = (group.0 ^ (group.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        ((mixed >> 32) * u64::from(Self::WHOLE)) >> 32 < u64::from(self.0)
    }
}

/// How many events a version was given, and how many of them failed at their first attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// Events.
    pub events: u64,
    /// Those that failed.
    pub failed: u64,
}

impl Record {
    /// What was added since an earlier state of it.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            events: self.events - before.events,
            failed: self.failed - before.failed,
        }
    }

    fn rate(self) -> f64 {
        self.failed as f64 / self.events.max(1) as f64
    }
}

/// Fewer failures than this are no sign of anything: one bad key may be the cause.
const FAILURES_MIN: u64 = 10;

/// How many standard deviations the two rates must lie apart. It is looked at after every batch, so it must be
/// far out not to be reached by chance: four means once in 30 000 looks, were they independent.
const DEVIATIONS: f64 = 4.0;

/// Whether a candidate fails more often than the version that serves, beyond chance: the test of two
/// proportions with a pooled variance, one-sided.
#[must_use]
pub fn is_worse(candidate: Record, serving: Record) -> bool {
    if candidate.failed < FAILURES_MIN || candidate.rate() <= serving.rate() {
        return false;
    }
    if serving.events == 0 {
        // Nothing to compare with: at least it must do more good than harm.
        return candidate.failed * 2 > candidate.events;
    }
    let events = [candidate.events as f64, serving.events as f64];
    let pooled = (candidate.failed + serving.failed) as f64 / (events[0] + events[1]);
    let variance = pooled * (1.0 - pooled) * (1.0 / events[0] + 1.0 / events[1]);
    // Where everything fails there is no variance, and then no rate is above another.
    (candidate.rate() - serving.rate()).powi(2) > DEVIATIONS * DEVIATIONS * variance
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(failed: u64, events: u64) -> Record {
        Record { events, failed }
    }

    #[test]
    fn a_share_takes_that_part_of_the_groups_whatever_lane_they_are_on() {
        let groups = |lane: usize| {
            let mut random = fastrand::Rng::with_seed(5);
            let groups = std::iter::repeat_with(move || OrderGroup(random.u64(..)));
            groups
                .filter(move |group| group.lane(4) == lane)
                .take(20_000)
        };
        for lane in 0..4 {
            let taken = |parts| {
                let share = Share::of_a_million(parts);
                groups(lane).filter(|group| share.takes(*group)).count()
            };
            assert_eq!(taken(0), 0);
            assert_eq!(taken(Share::WHOLE), 20_000);
            assert!((900..1_100).contains(&taken(50_000)), "{}", taken(50_000));
        }
    }

    #[test]
    fn a_group_that_a_share_takes_is_taken_by_every_larger_one() {
        let mut random = fastrand::Rng::with_seed(6);
        for _ in 0..1_000 {
            let group = OrderGroup(random.u64(..));
            let taken = (0..=Share::WHOLE)
                .step_by(50_000)
                .map(|parts| Share::of_a_million(parts).takes(group));
            assert!(taken.is_sorted(), "{group:?}");
        }
    }

    #[test]
    fn a_candidate_is_worse_only_beyond_chance() {
        assert!(!is_worse(record(9, 9), record(0, 1_000)), "too few to tell");
        assert!(is_worse(record(10, 20), record(0, 1_000)));
        assert!(
            !is_worse(record(10, 1_000), record(90, 10_000)),
            "the same rate"
        );
        assert!(
            is_worse(record(200, 1_000), record(900, 10_000)),
            "twice the rate"
        );
        assert!(
            !is_worse(record(500, 500), record(1_000, 1_000)),
            "everything fails"
        );
        assert!(
            !is_worse(record(5, 100_000), record(50, 100)),
            "it is better"
        );
    }

    #[test]
    fn a_candidate_that_has_nothing_beside_it_must_do_more_good_than_harm() {
        assert!(is_worse(record(11, 20), record(0, 0)));
        assert!(!is_worse(record(10, 20), record(0, 0)));
    }
}
