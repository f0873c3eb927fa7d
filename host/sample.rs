//! Sample events to send: well-formed ones, exact duplicates and malformed ones, in known shares.
//!
//! The same settings always make the same events, so a checker can know what should come out. It
//! must not know Kafka, gRPC or a clock.

use std::collections::VecDeque;

/// The types of the well-formed events, the frequent ones first.
pub const EVENT_TYPES: [&str; 6] = [
    "page_view",
    "click",
    "search",
    "add_to_cart",
    "purchase",
    "sign_up",
];

/// A duplicate repeats one of the last this many well-formed events: far enough apart that it is not
/// always in the same batch, near enough for any sensible window.
const REPEATABLE: usize = 1_000;

/// What to make.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleSettings {
    /// Share of malformed events, 0 to 1.
    pub bad_share: f64,
    /// Share of exact duplicates, 0 to 1.
    pub duplicate_share: f64,
    /// How many users there are; their ids are the keys. At least 1.
    pub users: u32,
    /// Decides everything that is random.
    pub seed: u64,
    /// Event time of the first event, in milliseconds since 1970.
    pub start_ms: i64,
    /// Event time between two events, in microseconds.
    pub step_us: i64,
}

impl Default for SampleSettings {
    fn default() -> Self {
        Self {
            bad_share: 0.005,
            duplicate_share: 0.01,
            users: 1_000,
            seed: 1,
            start_ms: 1_700_000_000_000,
            step_us: 1_000,
        }
    }
}

/// What an event is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Well-formed, with an id that no other has.
    Good,
    /// Byte for byte a good event that was sent before, with its key.
    Duplicate,
    /// Nothing that a handler should accept.
    Bad(Malformation),
}

impl Kind {
    /// `good`, `duplicate` or `bad`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Duplicate => "duplicate",
            Self::Bad(_) => "bad",
        }
    }
}

/// How a malformed event is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformation {
    /// JSON that ends too early.
    Truncated,
    /// No `event_type`.
    MissingType,
    /// `timestamp` is a string.
    TextTimestamp,
    /// Not JSON at all.
    NotJson,
    /// `{}`.
    Empty,
}

const MALFORMATIONS: [Malformation; 5] = [
    Malformation::Truncated,
    Malformation::MissingType,
    Malformation::TextTimestamp,
    Malformation::NotJson,
    Malformation::Empty,
];

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What it is good for.
    pub kind: Kind,
    /// The id in its value; a malformed value may not show it.
    pub id: String,
    /// The type in its value; a malformed value may not show it.
    pub event_type: &'static str,
    /// Event time in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The record key, which is the user's id.
    pub key: String,
    /// The record value, in UTF-8.
    pub value: String,
}

/// Makes events without end.
#[derive(Debug, Clone)]
pub struct Sampler {
    settings: SampleSettings,
    random: fastrand::Rng,
    made: i64,
    recent: VecDeque<Sample>,
}

impl Sampler {
    /// Starts from the first event.
    #[must_use]
    pub fn new(settings: SampleSettings) -> Self {
        Self {
            random: fastrand::Rng::with_seed(settings.seed),
            recent: VecDeque::with_capacity(REPEATABLE),
            made: 0,
            settings,
        }
    }

    /// The next event.
    pub fn make(&mut self) -> Sample {
        let draw = self.random.f64();
        if draw < self.settings.bad_share {
            let malformation = MALFORMATIONS[self.random.usize(..MALFORMATIONS.len())];
            let mut sample = self.good();
            sample.kind = Kind::Bad(malformation);
            sample.value = spoil(&sample, malformation);
            return sample;
        }
        let duplicate = draw < self.settings.bad_share + self.settings.duplicate_share;
        if duplicate && !self.recent.is_empty() {
            let mut sample = self.recent[self.random.usize(..self.recent.len())].clone();
            sample.kind = Kind::Duplicate;
            return sample;
        }
        let sample = self.good();
        if self.settings.duplicate_share > 0.0 {
            if self.recent.len() == REPEATABLE {
                self.recent.pop_front();
            }
            self.recent.push_back(sample.clone());
        }
        sample
    }

    fn good(&mut self) -> Sample {
        let random = &mut self.random;
        // The product of two draws favours the first types, as real traffic does.
        let event_type = EVENT_TYPES[random.usize(..EVENT_TYPES.len()) * random.usize(1..=4) / 4];
        let id = uuid(random);
        let key = format!("user-{:03}", random.u32(..self.settings.users.max(1)));
        let timestamp_ms = self.settings.start_ms + self.made * self.settings.step_us / 1_000;
        self.made += 1;
        let value = format!(
            r#"{{"id":"{id}","event_type":"{event_type}","user_id":"{key}","timestamp":{timestamp_ms},"metadata":{{"page":"/products/{}","campaign":"autumn-{}"}}}}"#,
            random.u16(1..1_000),
            random.u8(1..10),
        );
        Sample {
            kind: Kind::Good,
            id,
            event_type,
            timestamp_ms,
            key,
            value,
        }
    }
}

impl Iterator for Sampler {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        Some(self.make())
    }
}

fn spoil(sample: &Sample, malformation: Malformation) -> String {
    let value = &sample.value;
    match malformation {
        Malformation::Truncated => value[..value.len() / 2].to_owned(),
        Malformation::MissingType => {
            value.replacen(&format!(r#""event_type":"{}","#, sample.event_type), "", 1)
        }
        Malformation::TextTimestamp => value.replacen(
            &format!(r#""timestamp":{}"#, sample.timestamp_ms),
            r#""timestamp":"yesterday""#,
            1,
        ),
        Malformation::NotJson => format!("event {} of {} happened", sample.id, sample.key),
        Malformation::Empty => "{}".to_owned(),
    }
}

/// The text form of a random UUID (RFC 9562, version 4).
fn uuid(random: &mut fastrand::Rng) -> String {
    let bits = random.u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        bits >> 96,
        (bits >> 80) & 0xffff,
        (bits >> 64) & 0xffff,
        (bits >> 48) & 0xffff,
        bits & 0xffff_ffff_ffff,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn many(settings: SampleSettings) -> Vec<Sample> {
        Sampler::new(settings).take(20_000).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_events() {
        let settings = SampleSettings {
            seed: 7,
            ..SampleSettings::default()
        };
        assert_eq!(many(settings.clone()), many(settings.clone()));
        let other = SampleSettings {
            seed: 8,
            ..settings.clone()
        };
        assert_ne!(many(settings), many(other));
    }

    #[test]
    fn good_events_parse_and_have_ids_and_duplicates_repeat_them_byte_for_byte() {
        let mut seen = HashMap::new();
        let mut types = HashSet::new();
        for sample in many(SampleSettings::default()) {
            match sample.kind {
                Kind::Good => {
                    let json: serde_json::Value = serde_json::from_str(&sample.value).unwrap();
                    assert_eq!(json["id"], sample.id.as_str());
                    assert_eq!(json["event_type"], sample.event_type);
                    assert_eq!(json["user_id"], sample.key.as_str());
                    assert_eq!(json["timestamp"], sample.timestamp_ms);
                    assert!(json["metadata"]["page"].is_string());
                    assert!(
                        (150..=230).contains(&sample.value.len()),
                        "{}",
                        sample.value
                    );
                    types.insert(sample.event_type);
                    assert!(seen.insert(sample.id, (sample.key, sample.value)).is_none());
                }
                Kind::Duplicate => assert_eq!(seen[&sample.id], (sample.key, sample.value)),
                Kind::Bad(_) => assert!(!sample.key.is_empty()),
            }
        }
        assert_eq!(types.len(), EVENT_TYPES.len());
    }

    #[test]
    fn malformed_events_are_malformed_in_every_way() {
        let settings = SampleSettings {
            bad_share: 1.0,
            ..SampleSettings::default()
        };
        let mut ways = HashMap::new();
        for sample in many(settings) {
            let Kind::Bad(way) = sample.kind else {
                panic!("{sample:?}")
            };
            *ways.entry(format!("{way:?}")).or_insert(0) += 1;
            let json = serde_json::from_str::<serde_json::Value>(&sample.value);
            match way {
                Malformation::Truncated | Malformation::NotJson => assert!(json.is_err()),
                Malformation::MissingType | Malformation::Empty => {
                    assert!(json.unwrap().get("event_type").is_none());
                }
                Malformation::TextTimestamp => assert!(json.unwrap()["timestamp"].is_string()),
            }
        }
        assert_eq!(ways.len(), MALFORMATIONS.len());
    }

    #[test]
    fn the_shares_are_about_what_was_asked_for() {
        let settings = SampleSettings {
            bad_share: 0.05,
            duplicate_share: 0.1,
            ..SampleSettings::default()
        };
        let samples = many(settings);
        let count = |name| {
            samples
                .iter()
                .filter(|sample| sample.kind.name() == name)
                .count()
        };
        assert!((800..1_200).contains(&count("bad")), "{}", count("bad"));
        assert!(
            (1_800..2_200).contains(&count("duplicate")),
            "{}",
            count("duplicate")
        );
    }
}
