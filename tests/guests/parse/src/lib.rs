//! The work that the boundary bench does on each side of it: parse an event as the analytics plugin does.

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
#[expect(dead_code, reason = "read because the analytics plugin reads them")]
struct UserEvent<'a> {
    id: &'a str,
    event_type: &'a str,
    user_id: &'a str,
    timestamp: i64,
    metadata: Option<IgnoredAny>,
}

/// Whether it is a well-formed event.
pub fn parses(value: &[u8]) -> bool {
    serde_json::from_slice::<UserEvent<'_>>(value).is_ok()
}
