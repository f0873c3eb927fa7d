//! One event, read in place from the packed batch. Knows the slot layout and nothing of outcomes.

use crate::packed::{NULL_LEN, Span};

/// One event as the handler sees it. It borrows from the batch, so reading it copies nothing.
///
/// ```
/// use millrace_sdk::Event;
///
/// let event = Event::of_value(b"12.50").at("payments", 3, 41).with_key(Some(b"anna"));
/// assert_eq!((event.topic(), event.partition(), event.offset()), ("payments", 3, 41));
/// // A null key or value is none; an empty one is empty.
/// assert_eq!((event.key(), event.with_value(None).value()), (Some(&b"anna"[..]), None));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [u8],
    pub(crate) attempt: u32,
}

impl<'a> Event<'a> {
    /// An event for a test, with a value and nothing else.
    #[must_use]
    pub fn of_value(value: &'a [u8]) -> Self {
        Self {
            topic: "test",
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: None,
            value: Some(value),
            headers: &[],
            attempt: 1,
        }
    }

    /// The same event at these coordinates.
    #[must_use]
    pub fn at(mut self, topic: &'a str, partition: i32, offset: i64) -> Self {
        (self.topic, self.partition, self.offset) = (topic, partition, offset);
        self
    }

    /// The same event with this key; none is a null key.
    #[must_use]
    pub fn with_key(mut self, key: Option<&'a [u8]>) -> Self {
        self.key = key;
        self
    }

    /// The same event with this value; none is a tombstone.
    #[must_use]
    pub fn with_value(mut self, value: Option<&'a [u8]>) -> Self {
        self.value = value;
        self
    }

    /// The same event with this record time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn with_timestamp_ms(mut self, timestamp_ms: Option<i64>) -> Self {
        self.timestamp_ms = timestamp_ms;
        self
    }

    /// The same event with headers in the packed form, as [`crate::packed::pack_headers`] makes it.
    #[must_use]
    pub fn with_packed_headers(mut self, headers: &'a [u8]) -> Self {
        self.headers = headers;
        self
    }

    /// The topic of the record.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// The partition of the record.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset of the record.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The record time in milliseconds since the Unix epoch; none when the record has no timestamp.
    #[must_use]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    /// The key; none is a null key.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The value; none is a tombstone, which is not an empty value.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// The headers in their order; names may repeat.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        Headers { rest: self.headers }
    }

    /// The last header of that name, with a non-null value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers()
            .filter(|(n, _)| *n == name)
            .filter_map(|(_, value)| value)
            .last()
    }

    /// From 1; rises only after a counted failure.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// Iterates over the headers of an event: the name, and the value unless it is null.
///
/// ```
/// use millrace_sdk::{Event, packed::pack_headers};
///
/// let packed = pack_headers(&[("trace".to_owned(), Some(b"1f".to_vec())), ("empty".to_owned(), None)]);
/// let event = Event::of_value(b"x").with_packed_headers(&packed);
/// assert_eq!(event.header("trace"), Some(&b"1f"[..]));
/// assert_eq!(event.headers().map(|(name, _)| name).collect::<Vec<_>>(), ["trace", "empty"]);
/// ```
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_len, rest) = self.rest.split_first_chunk::<4>()?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*name_len) as usize)?;
        let value_len = u32::from_le_bytes(*value_len);
        let (value, rest) = if value_len == NULL_LEN {
            (None, rest)
        } else {
            let (value, rest) = rest.split_at_checked(value_len as usize)?;
            (Some(value), rest)
        };
        self.rest = rest;
        Some((std::str::from_utf8(name).unwrap_or_default(), value))
    }
}

/// Reads one event of a packed batch; none when the slot does not fit its bytes.
pub(crate) fn read<'a>(bytes: &'a [u8], slot: &[u64], topics: &[&'a str]) -> Option<Event<'a>> {
    let [place, offset, timestamp, attempt, key, value, headers, ..] = *slot else {
        return None;
    };
    Some(Event {
        topic: topics.get(place as u32 as usize)?,
        partition: (place >> 32) as u32 as i32,
        offset: offset as i64,
        timestamp_ms: (timestamp as i64 != i64::MIN).then_some(timestamp as i64),
        attempt: attempt as u32,
        key: Span(key).of(bytes),
        value: Span(value).of(bytes),
        headers: Span(headers).of(bytes).unwrap_or_default(),
    })
}
