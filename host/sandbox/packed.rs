//! The host's side of the packed form: what goes in, and what comes back, checked.
//!
//! Nothing that a guest returns is trusted: every index and span is checked before it is used.

use super::fault::{Fault, FaultKind};

/// Words in a slot of an event, as `wit/types.wit` lays them out.
pub const SLOT_WORDS: usize = 7;

/// Words in a slot of an outcome and of an output.
const OUTCOME_WORDS: usize = 4;
const OUTPUT_WORDS: usize = 6;

/// Longest code, message or topic name that is read; the contract keeps no more of a message either.
pub(super) const TEXT_BYTES_MAX: usize = 1024;

/// A start in its low and a length in its high 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub u64);

impl Span {
    /// The span that means null.
    pub const NULL: Self = Self((u32::MAX as u64) << 32);

    /// A span over bytes of a batch, which are always fewer than 4 GiB.
    #[must_use]
    pub fn new(start: usize, len: usize) -> Self {
        Self(start as u64 | (len as u64) << 32)
    }

    /// How many bytes it names; 0 when it is null.
    fn len(self) -> usize {
        if self == Self::NULL {
            0
        } else {
            (self.0 >> 32) as usize
        }
    }

    /// The bytes it names; none when it is null or lies outside.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        if self == Self::NULL {
            return None;
        }
        let (start, len) = (self.0 as u32 as usize, (self.0 >> 32) as usize);
        bytes.get(start..start.checked_add(len)?)
    }
}

/// The topic table in the packed form.
#[must_use]
pub fn encode_topics<'a>(topics: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut table = Vec::new();
    for topic in topics {
        table.extend((topic.len() as u32).to_le_bytes());
        table.extend(topic.as_bytes());
    }
    table
}

/// What became of one event, as the plugin said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Answer {
    /// Done.
    #[default]
    Processed,
    /// Not wanted.
    Filtered,
    /// Try again later; counts as an attempt.
    Retry(Problem),
    /// Never try again.
    Reject(Problem),
    /// Try again later; does not count.
    Overloaded(Problem),
    /// Not run, because an earlier event of its order group failed.
    Held,
}

/// Why an event failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problem {
    /// The plugin's own short word.
    pub code: String,
    /// For a person.
    pub message: String,
    /// How long to wait, in milliseconds, instead of the configured backoff.
    pub after_ms: Option<u64>,
    /// Functions of the plugin that it trapped in, innermost first; empty where it has answered.
    pub frames: Vec<String>,
}

/// A name and a value, which may be null. Names are bytes, because Kafka does not promise UTF-8.
pub(super) type Header = (Vec<u8>, Option<Vec<u8>>);

/// A record that the plugin wants produced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// The event of the batch that made it.
    pub event_index: u32,
    /// Where it goes; granted.
    pub topic: String,
    /// None lets the partitioner choose.
    pub partition: Option<i32>,
    /// None takes the time of producing.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values.
    pub headers: Vec<Header>,
}

impl Output {
    /// Key, value and headers together, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + len(value));
        len(&self.key) + len(&self.value) + headers.sum::<usize>()
    }
}

fn malformed(what: &str) -> Fault {
    Fault::new(
        FaultKind::Output,
        "malformed",
        format!("the plugin's answer is malformed: {what}"),
    )
}

/// Reads the outcomes that are not plain success, as pairs of event index and answer, in their order.
pub(super) fn outcomes(
    words: &[u64],
    bytes: &[u8],
    events: usize,
) -> Result<Vec<(u32, Answer)>, Fault> {
    let mut answers = Vec::new();
    for slot in slots(words, OUTCOME_WORDS)? {
        let index = slot[0] as u32;
        if index as usize >= events {
            return Err(malformed(
                "an outcome for an event that is not in the batch",
            ));
        }
        if answers.last().is_some_and(|(before, _)| *before >= index) {
            return Err(malformed("outcomes out of order"));
        }
        let problem = || Problem {
            code: text(Span(slot[1]), bytes),
            message: text(Span(slot[2]), bytes),
            after_ms: (slot[3] != u64::MAX).then_some(slot[3]),
            frames: Vec::new(),
        };
        let answer = match slot[0] >> 32 {
            1 => Answer::Filtered,
            2 => Answer::Retry(problem()),
            3 => Answer::Reject(problem()),
            4 => Answer::Overloaded(problem()),
            5 => Answer::Held,
            _ => return Err(malformed("an unknown kind of outcome")),
        };
        answers.push((index, answer));
    }
    Ok(answers)
}

/// Reads the outputs. Their spans may overlap, so that a few bytes could become any number of copies:
/// together they name no more than `bytes_max`.
pub(super) fn outputs(
    words: &[u64],
    bytes: &[u8],
    events: usize,
    (limit, bytes_max): (&'static str, usize),
) -> Result<Vec<Output>, Fault> {
    let mut outputs: Vec<Output> = Vec::new();
    let mut bytes_left = bytes_max;
    for slot in slots(words, OUTPUT_WORDS)? {
        let event_index = slot[0] as u32;
        if event_index as usize >= events {
            return Err(malformed("an output of an event that is not in the batch"));
        }
        // The limits of an event are counted over its outputs in a row.
        if outputs
            .last()
            .is_some_and(|before| before.event_index > event_index)
        {
            return Err(malformed("outputs out of order"));
        }
        let named: usize = slot[2..OUTPUT_WORDS]
            .iter()
            .map(|span| Span(*span).len())
            .sum();
        bytes_left = bytes_left.checked_sub(named).ok_or_else(|| {
            let message = format!("outputs of more than {bytes_max} bytes in one call");
            Fault::of_limit(FaultKind::Output, "output-size", limit, message)
        })?;
        let partition = (slot[0] >> 32) as u32 as i32;
        let optional = |span: u64| match Span(span) {
            Span::NULL => Ok(None),
            span => span
                .of(bytes)
                .map(|bytes| Some(bytes.to_vec()))
                .ok_or_else(|| malformed("a span outside of its bytes")),
        };
        outputs.push(Output {
            event_index,
            topic: text(Span(slot[2]), bytes),
            partition: (partition >= 0).then_some(partition),
            timestamp_ms: (slot[1] as i64 != i64::MIN).then_some(slot[1] as i64),
            key: optional(slot[3])?,
            value: optional(slot[4])?,
            headers: headers(&optional(slot[5])?.unwrap_or_default())?,
        });
    }
    Ok(outputs)
}

fn slots(words: &[u64], least: usize) -> Result<std::slice::ChunksExact<'_, u64>, Fault> {
    let Some((stride, slots)) = words.split_first() else {
        return Ok([].chunks_exact(1));
    };
    // A stride beyond this is no later version of the contract but a mistake.
    if *stride < least as u64 || *stride > 64 || slots.len() % *stride as usize != 0 {
        return Err(malformed("a wrong stride"));
    }
    Ok(slots.chunks_exact(*stride as usize))
}

/// A text is cut at its limit: spans may overlap, and each outcome could name all of the bytes.
fn text(span: Span, bytes: &[u8]) -> String {
    let text = span.of(bytes).unwrap_or_default();
    String::from_utf8_lossy(&text[..text.len().min(TEXT_BYTES_MAX)]).into_owned()
}

/// Reads packed headers.
///
/// # Errors
/// The bytes are cut short.
pub(super) fn headers(mut packed: &[u8]) -> Result<Vec<Header>, Fault> {
    let mut headers = Vec::new();
    let cut = || malformed("headers cut short");
    while !packed.is_empty() {
        let (name_len, rest) = packed.split_first_chunk::<4>().ok_or_else(cut)?;
        let (value_len, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let name_len = u32::from_le_bytes(*name_len) as usize;
        let (name, rest) = rest.split_at_checked(name_len).ok_or_else(cut)?;
        let (value, rest) = match u32::from_le_bytes(*value_len) {
            u32::MAX => (None, rest),
            len => {
                let (value, rest) = rest.split_at_checked(len as usize).ok_or_else(cut)?;
                (Some(value.to_vec()), rest)
            }
        };
        headers.push((name.to_vec(), value));
        packed = rest;
    }
    Ok(headers)
}

/// Reads whatever a guest could have returned, and checks what is believed of it.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_results(outcomes: &[u64], outputs: &[u64], bytes: &[u8], events: usize) {
    const BYTES_MAX: usize = 1 << 16;
    if let Ok(answers) = self::outcomes(outcomes, bytes, events) {
        assert!(answers.len() <= events, "an answer for each event at most");
    }
    if let Ok(outputs) = self::outputs(outputs, bytes, events, ("event_hostcall", BYTES_MAX)) {
        let taken: usize = outputs.iter().map(Output::bytes).sum();
        assert!(
            taken <= BYTES_MAX,
            "spans that overlap count as often as they are named"
        );
        assert!(outputs.is_sorted_by_key(|output| output.event_index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_and_checked() {
        let bytes = b"codewhy";
        let words = [
            4,
            1 | 2 << 32,
            Span::new(0, 4).0,
            Span::new(4, 3).0,
            250,
            3 | 5 << 32,
            Span::NULL.0,
            Span::NULL.0,
            u64::MAX,
        ];
        let read = outcomes(&words, bytes, 4).unwrap();
        let problem = Problem {
            code: "code".to_owned(),
            message: "why".to_owned(),
            after_ms: Some(250),
            frames: Vec::new(),
        };
        assert_eq!(read, [(1, Answer::Retry(problem)), (3, Answer::Held)]);
        assert!(
            outcomes(&words, bytes, 3).is_err(),
            "an index outside of the batch"
        );
        assert!(
            outcomes(&[4, 9 << 32, 0, 0, 0], bytes, 3).is_err(),
            "an unknown kind"
        );
        assert!(outcomes(&[0, 1], bytes, 3).is_err(), "a stride of nothing");
        assert!(
            outcomes(&[u64::MAX, 1], bytes, 3).is_err(),
            "a stride of everything"
        );
        assert!(
            outcomes(&[4, 1 << 32, 0, 0, 0, 1 << 32, 0, 0, 0], bytes, 3).is_err(),
            "twice"
        );
    }

    #[test]
    fn spans_outside_of_their_bytes_are_refused() {
        assert_eq!(Span::new(2, 3).of(b"hello"), Some(&b"llo"[..]));
        assert_eq!(Span::new(2, 4).of(b"hello"), None);
        assert_eq!(Span(u64::MAX - (1 << 32)).of(b"hello"), None);
        let words = [
            6,
            0,
            i64::MIN as u64,
            Span::new(0, 1).0,
            Span::new(0, 99).0,
            0,
            0,
        ];
        assert!(outputs(&words, b"t", 1, ("x", 1_000)).is_err());
    }

    /// An output of an event: one byte of topic, and a value over all of the bytes.
    fn output(event_index: u64, value_len: usize) -> [u64; 6] {
        let (topic, value) = (Span::new(0, 1).0, Span::new(0, value_len).0);
        [
            event_index,
            i64::MIN as u64,
            topic,
            Span::NULL.0,
            value,
            Span::NULL.0,
        ]
    }

    fn words(outputs: &[[u64; 6]]) -> Vec<u64> {
        std::iter::once(6)
            .chain(outputs.iter().flatten().copied())
            .collect()
    }

    #[test]
    fn outputs_that_share_their_bytes_count_as_often_as_they_name_them() {
        let bytes = [b'x'; 100];
        let shared = words(&[output(0, 100); 9]);
        assert_eq!(outputs(&shared, &bytes, 1, ("x", 909)).unwrap().len(), 9);
        let fault = outputs(&shared, &bytes, 1, ("x", 908)).unwrap_err();
        assert_eq!(
            (fault.kind, fault.code.as_str()),
            (FaultKind::Output, "output-size")
        );
    }

    #[test]
    fn outputs_out_of_order_are_refused() {
        let mixed = words(&[output(0, 1), output(1, 1), output(0, 1)]);
        assert!(outputs(&mixed, b"xy", 2, ("x", 1_000)).is_err());
        let in_order = words(&[output(0, 1), output(0, 1), output(1, 1)]);
        assert_eq!(outputs(&in_order, b"xy", 2, ("x", 1_000)).unwrap().len(), 3);
    }

    #[test]
    fn long_messages_are_cut() {
        let bytes = [b'x'; 5_000];
        let word = Span::new(0, 5_000).0;
        let read = outcomes(&[4, 3 << 32, word, word, u64::MAX], &bytes, 1).unwrap();
        let Answer::Reject(problem) = &read[0].1 else {
            panic!("{read:?}")
        };
        assert_eq!((problem.code.len(), problem.message.len()), (1_024, 1_024));
    }
}
