//! How many events a gateway answered, by status.
//!
//! Plain counters for whoever exports them; this file must not know how metrics are exported.

use std::sync::atomic::{AtomicU64, Ordering};

use super::refusal::Status;

/// Answered events by status. It only rises.
#[derive(Debug, Default)]
pub struct Counts([AtomicU64; Status::ALL.len()]);

impl Counts {
    pub(super) fn add(&self, status: Status, events: u64) {
        // The order of `ALL` is the order of the variants.
        self.0[status as usize].fetch_add(events, Ordering::Relaxed);
    }

    /// Every status in lower case (`ok`, `too_large`, ...) with its count so far.
    pub fn snapshot(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let counted = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Status::ALL
            .iter()
            .map(|status| status.name().to_ascii_lowercase())
            .zip(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_a_place_of_its_own() {
        for (place, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status as usize, place);
        }
    }
}
