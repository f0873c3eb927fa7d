//! What the copy of an event in a retry topic says of itself: where the event came from, which attempt comes
//! next, and when.

use super::dead_letter::Header;
use super::offsets::Offset;

/// Common start of every header name that the host adds to a retry copy. The plugin never sees these.
pub const PREFIX: &str = "millrace.retry.";

/// The facts of one retry copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryCopy {
    /// The topic that the event was read from at first.
    pub topic: String,
    /// Its partition there.
    pub partition: i32,
    /// Its offset there.
    pub offset: Offset,
    /// Its record time in milliseconds.
    pub timestamp_ms: Option<i64>,
    /// The attempt that comes next.
    pub attempt: u32,
    /// The attempt is not made before this, in milliseconds since the Unix epoch.
    pub due_ms: u64,
    /// When it failed for the first time, in milliseconds since the Unix epoch.
    pub first_failed_ms: u64,
}

impl RetryCopy {
    /// The headers of the copy: the event's own as they were, then the host's.
    #[must_use]
    pub fn headers(&self, mut own: Vec<Header>) -> Vec<Header> {
        own.retain(|(name, _)| !is_host_header(name));
        let mut add = |name: &str, value: String| {
            own.push((
                format!("{PREFIX}{name}").into_bytes(),
                Some(value.into_bytes()),
            ));
        };
        add("origin.topic", self.topic.clone());
        add("origin.partition", self.partition.to_string());
        add("origin.offset", self.offset.to_string());
        if let Some(timestamp_ms) = self.timestamp_ms {
            add("origin.timestamp", timestamp_ms.to_string());
        }
        add("attempt", self.attempt.to_string());
        add("due-at", self.due_ms.to_string());
        add("first-failed-at", self.first_failed_ms.to_string());
        own
    }

    /// Reads the headers of a record. None when it is no copy that a host has written.
    #[must_use]
    pub fn read(headers: &[Header]) -> Option<Self> {
        let text = |name: &str| {
            let is_it = |header: &&Header| {
                let rest = header.0.strip_prefix(PREFIX.as_bytes());
                rest == Some(name.as_bytes())
            };
            let (_, value) = headers.iter().rfind(is_it)?;
            std::str::from_utf8(value.as_deref()?).ok()
        };
        Some(Self {
            topic: text("origin.topic")?.to_owned(),
            partition: text("origin.partition")?.parse().ok()?,
            offset: Offset(text("origin.offset")?.parse().ok()?),
            timestamp_ms: match text("origin.timestamp") {
                Some(timestamp_ms) => Some(timestamp_ms.parse().ok()?),
                None => None,
            },
            attempt: text("attempt")?
                .parse()
                .ok()
                .filter(|attempt| *attempt > 0)?,
            due_ms: text("due-at")?.parse().ok()?,
            first_failed_ms: text("first-failed-at")?.parse().ok()?,
        })
    }
}

/// Whether a header was added by the host to a retry copy.
#[must_use]
pub fn is_host_header(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy() -> RetryCopy {
        RetryCopy {
            topic: "user-events".to_owned(),
            partition: 3,
            offset: Offset(1_234),
            timestamp_ms: Some(99),
            attempt: 4,
            due_ms: 1_700_000_000_123,
            first_failed_ms: 1_700_000_000_000,
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_the_events_own_headers_stay_first() {
        let own: Vec<Header> = vec![
            (b"a\xff".to_vec(), None),
            (b"a\xff".to_vec(), Some(vec![0])),
        ];
        let headers = copy().headers(own.clone());
        assert_eq!(headers[..2], own);
        assert_eq!(RetryCopy::read(&headers), Some(copy()));
    }

    #[test]
    fn a_second_copy_replaces_the_facts_of_the_first() {
        let first = copy().headers(Vec::new());
        let second = RetryCopy {
            attempt: 5,
            timestamp_ms: None,
            ..copy()
        };
        let headers = second.headers(first.clone());
        assert_eq!(headers.len(), first.len() - 1);
        assert_eq!(RetryCopy::read(&headers), Some(second));
    }

    #[test]
    fn a_record_that_no_host_wrote_is_no_copy() {
        assert_eq!(RetryCopy::read(&[]), None);
        let mut headers = copy().headers(Vec::new());
        headers[1].1 = Some(b"three".to_vec());
        assert_eq!(RetryCopy::read(&headers), None);
    }
}
