//! How many events the gateway answered, by status.
//!
//! Plain counters for whoever exports them; this file must not know how metrics are exported.

use std::sync::atomic::{AtomicU64, Ordering};

use super::proto::StatusCode;

const CODES: [StatusCode; 7] = [
    StatusCode::Ok,
    StatusCode::Invalid,
    StatusCode::TooLarge,
    StatusCode::UnknownTopic,
    StatusCode::Denied,
    StatusCode::Overloaded,
    StatusCode::Unavailable,
];

/// Answered events by status. It only rises.
#[derive(Debug, Default)]
pub struct Counts([AtomicU64; CODES.len()]);

impl Counts {
    pub(super) fn add(&self, code: StatusCode) {
        if let Some(place) = CODES.iter().position(|known| *known == code) {
            self.0[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every status in lower case (`ok`, `too_large`, ...) with its count so far.
    pub fn snapshot(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let counted = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        CODES
            .iter()
            .map(|code| super::status::name(*code).to_ascii_lowercase())
            .zip(counted)
    }
}
