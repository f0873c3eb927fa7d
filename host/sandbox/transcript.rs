//! What the host answered while one event ran, in a form that travels in a dead letter.
//!
//! With it a handler can be run again away from everything that it asked then. It must not know who asks or how
//! an answer comes about.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Secrets;

/// The version of the form. Another one is not read.
const VERSION: u32 = 1;

/// What stands where something secret stood.
const REDACTED: &str = "[redacted]";

/// Headers of answers that hold what lets somebody in.
const SECRET_HEADERS: [&str; 6] = [
    "set-cookie",
    "authorization",
    "proxy-authenticate",
    "www-authenticate",
    "authentication-info",
    "x-api-key",
];

/// What the host answered in one call, in the order of the questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    version: u32,
    /// Fuel that the call took, where fuel is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// What the instance was given for `wasi:random/insecure-seed`, in hexadecimal. Languages order their hash
    /// tables by it.
    pub seed: String,
    /// Whether something secret was taken out, so that a run with it may come to something else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// The answers.
    pub answers: Vec<HostAnswer>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HostAnswer {
    /// The time of day, in nanoseconds since the Unix epoch.
    WallClock(u64),
    /// The clock that only measures, in nanoseconds.
    MonotonicClock(u64),
    /// Random bytes, as they were drawn.
    Random(Bytes),
    /// What was read of the plugin's state; none where there was nothing.
    State(Option<Bytes>),
    /// A change of the state that was refused, by its number among the changes of the call, and why.
    NoRoom {
        /// From 0.
        write: u32,
        /// For a person.
        message: String,
    },
    /// The answer to an HTTP request.
    Http {
        /// Its status.
        status: u16,
        /// Its headers, in order.
        headers: Vec<(String, Bytes)>,
        /// As much of its body as was read.
        body: Bytes,
        /// Why it broke off, where it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<String>,
    },
    /// An HTTP request without an answer, and why.
    HttpFailed(String),
    /// What the plugin logged. It is no answer, and tells the reader what the plugin thought.
    Log(String),
}

/// Bytes, written in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes());
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

impl HostAnswer {
    /// What it takes in memory and, about, in a dead letter.
    pub(super) fn bytes(&self) -> usize {
        // Its word and punctuation.
        const OVERHEAD_BYTES: usize = 24;
        let bytes = match self {
            Self::WallClock(_) | Self::MonotonicClock(_) | Self::State(None) => 0,
            Self::Random(bytes) | Self::State(Some(bytes)) => bytes.0.len(),
            Self::NoRoom { message, .. } => message.len(),
            Self::Http { headers, body, .. } => {
                let of = |(name, value): &(String, Bytes)| name.len() + value.0.len();
                headers.iter().map(of).sum::<usize>() + body.0.len()
            }
            Self::HttpFailed(text) | Self::Log(text) => text.len(),
        };
        OVERHEAD_BYTES + bytes
    }
}

impl Transcript {
    pub(super) fn new(seed: u128, fuel: Option<u64>, answers: Vec<HostAnswer>) -> Self {
        Self {
            version: VERSION,
            fuel,
            seed: format!("{seed:032x}"),
            redacted: false,
            answers,
        }
    }

    /// What the instance was given as its seed.
    pub(super) fn seed(&self) -> u128 {
        u128::from_str_radix(&self.seed, 16).unwrap_or_default()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let transcript: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("the transcript cannot be read: {error}"))?;
        if transcript.version != VERSION {
            return Err(format!(
                "the transcript has version {}, and this host reads {VERSION}: use the host that wrote it, or a later one",
                transcript.version
            ));
        }
        Ok(transcript)
    }

    /// As JSON, for the header of a dead letter.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // It holds nothing that JSON cannot: text, numbers and lists.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The lines that the plugin logged.
    pub fn log_lines(&self) -> impl Iterator<Item = &str> {
        self.answers.iter().filter_map(|answer| match answer {
            HostAnswer::Log(line) => Some(line.as_str()),
            _ => None,
        })
    }

    /// Takes out what lets somebody in: headers that are made for it, and every place where one of these secrets
    /// stands.
    pub(super) fn redact(&mut self, secrets: &Secrets) {
        for answer in &mut self.answers {
            self.redacted |= match answer {
                HostAnswer::Log(line) | HostAnswer::HttpFailed(line) => of_text(line, secrets),
                HostAnswer::NoRoom { message, .. } => of_text(message, secrets),
                HostAnswer::State(Some(value)) => of_bytes(value, secrets),
                HostAnswer::Http {
                    headers,
                    body,
                    failed,
                    ..
                } => {
                    let mut redacted = of_bytes(body, secrets);
                    redacted |= failed.as_mut().is_some_and(|why| of_text(why, secrets));
                    for (name, value) in headers {
                        let is_secret = SECRET_HEADERS.contains(&name.as_str());
                        if is_secret {
                            value.0 = REDACTED.into();
                        }
                        redacted |= is_secret || of_bytes(value, secrets);
                    }
                    redacted
                }
                HostAnswer::WallClock(_)
                | HostAnswer::MonotonicClock(_)
                | HostAnswer::Random(_)
                | HostAnswer::State(None) => false,
            };
        }
    }
}

/// Takes secrets out of bytes, and tells whether there were any.
fn of_bytes(bytes: &mut Bytes, secrets: &Secrets) -> bool {
    let left = secrets.taken_out_of(&bytes.0, REDACTED);
    left.map(|left| bytes.0 = left).is_some()
}

/// The same of a text.
fn of_text(text: &mut String, secrets: &Secrets) -> bool {
    let left = secrets.taken_out_of_text(text, REDACTED);
    left.map(|left| *text = left).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Transcript {
        let http = HostAnswer::Http {
            status: 200,
            headers: vec![
                ("set-cookie".to_owned(), Bytes(b"id=1".to_vec())),
                ("server".to_owned(), Bytes(b"s".to_vec())),
            ],
            body: Bytes(b"the token is hunter2hunter2".to_vec()),
            failed: Some("no more after hunter2hunter2".to_owned()),
        };
        Transcript::new(
            7,
            Some(12),
            vec![
                HostAnswer::WallClock(1),
                HostAnswer::Random(Bytes(vec![0, 255])),
                HostAnswer::State(None),
                HostAnswer::State(Some(Bytes(vec![0xff, 0xfe]))),
                http,
                HostAnswer::State(Some(Bytes(b"\xff\xfehunter2hunter2\0".to_vec()))),
                HostAnswer::Log("asks with hunter2hunter2".to_owned()),
            ],
        )
    }

    #[test]
    fn a_transcript_is_read_as_it_was_written() {
        let told = told();
        assert_eq!(Transcript::parse(&told.to_bytes()), Ok(told.clone()));
        assert_eq!(told.seed(), 7);
    }

    #[test]
    fn one_of_another_version_or_that_is_damaged_is_refused_with_what_to_do() {
        let text = String::from_utf8(told().to_bytes()).unwrap();
        let other = text.replace("\"version\":1", "\"version\":2");
        let refused = Transcript::parse(other.as_bytes()).unwrap_err();
        assert!(refused.contains("version 2"), "{refused}");
        let refused = Transcript::parse(&text.as_bytes()[..40]).unwrap_err();
        assert!(refused.contains("cannot be read"), "{refused}");
    }

    #[test]
    fn what_lets_somebody_in_is_taken_out_of_text_and_of_bytes_and_the_rest_stays() {
        let mut told = told();
        told.redact(&Secrets::new(["hunter2hunter2"].into_iter()));
        let text = String::from_utf8(told.to_bytes()).unwrap();
        assert!(told.redacted, "{text}");
        assert!(!format!("{told:?}").contains("hunter2"), "{told:?}");
        let lines: Vec<_> = told.log_lines().collect();
        assert_eq!(lines, ["asks with [redacted]"]);
        let HostAnswer::Http {
            headers,
            body,
            failed,
            ..
        } = &told.answers[4]
        else {
            panic!("{told:?}");
        };
        assert_eq!(body.0, b"the token is [redacted]");
        assert_eq!(headers[0].1.0, b"[redacted]");
        assert_eq!(headers[1].1.0, b"s");
        assert_eq!(failed.as_deref(), Some("no more after [redacted]"));
        assert_eq!(
            told.answers[3],
            HostAnswer::State(Some(Bytes(vec![0xff, 0xfe])))
        );
        let value = Bytes(b"\xff\xfe[redacted]\0".to_vec());
        assert_eq!(told.answers[5], HostAnswer::State(Some(value)));
    }
}
