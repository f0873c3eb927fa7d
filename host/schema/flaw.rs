//! What is wrong with an event: why it goes to the dead letters, or is refused at a gateway.

use std::borrow::Cow;

use crate::delivery::dead_letter::Cause;

/// What is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Flaw {
    /// The cause of its dead letter.
    pub cause: Cause,
    /// A short word that tells flaws of one cause apart, as in `payload` or `wrong-magic-byte`. It groups failures, so
    /// it must not hold anything of the event.
    pub code: &'static str,
    /// For a person: what is wrong, where, and against which schema. At most about a kilobyte of it is kept.
    pub message: String,
}

/// Where in the rules an event was found wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its value is no JSON.
    Json,
    /// Its value is not what every event's must be.
    Envelope,
    /// It says no type.
    Type,
    /// It has a type that no schema is known of.
    UnknownType,
    /// Its payload is not what its type says.
    Payload,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 5] = [
        Self::Json,
        Self::Envelope,
        Self::Type,
        Self::UnknownType,
        Self::Payload,
    ];

    /// The word in the code of a dead letter, and in metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "not-json",
            Self::Envelope => "envelope",
            Self::Type => "no-type",
            Self::UnknownType => "unknown-type",
            Self::Payload => "payload",
        }
    }
}

impl Flaw {
    /// Bytes that no decoder of this route can read.
    #[must_use]
    pub fn undecodable(code: &'static str, message: String) -> Self {
        Self {
            cause: Cause::Decode,
            code,
            message,
        }
    }

    pub(super) fn invalid(stage: Stage, message: String) -> Self {
        Self {
            cause: Cause::Schema,
            code: stage.word(),
            message,
        }
    }

    pub(super) fn unknown_type(message: String) -> Self {
        Self {
            cause: Cause::UnknownType,
            ..Self::invalid(Stage::UnknownType, message)
        }
    }
}

/// So many characters of a text at most.
pub(super) fn cut(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{} ...", &text[..end])),
    }
}
