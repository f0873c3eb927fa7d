//! What a handler answers. Knows nothing of batches.

use std::fmt::Display;

/// The event is finished: its effects and its outputs count. A handler may return `()`, an [`Output`] or several
/// instead.
///
/// ```
/// use millrace_sdk::{Event, Failure, Output, Success};
///
/// fn handle(event: &Event<'_>) -> Result<Success, Failure> {
///     match event.value() {
///         Some(value) => Ok(Output::new("copies", value).into()),
///         None => Ok(Success::Filtered),
///     }
/// }
/// # assert_eq!(handle(&Event::of_value(b"x").with_value(None)).unwrap(), Success::Filtered);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Success {
    /// Done, with records to produce.
    Processed(Vec<Output>),
    /// Looked at and not wanted.
    Filtered,
}

impl From<()> for Success {
    fn from((): ()) -> Self {
        Self::Processed(Vec::new())
    }
}

impl From<Output> for Success {
    fn from(output: Output) -> Self {
        Self::Processed(vec![output])
    }
}

impl From<Vec<Output>> for Success {
    fn from(outputs: Vec<Output>) -> Self {
        Self::Processed(outputs)
    }
}

/// The event is not finished; its effects are dropped. Any ordinary error becomes one that asks for a retry.
///
/// ```
/// use millrace_sdk::{Event, Failure, Reject};
///
/// fn handle(event: &Event<'_>) -> Result<(), Failure> {
///     let value = event.value().ok_or(Reject::new("tombstone", "nothing to book"))?; // never again
///     let amount: u64 = std::str::from_utf8(value)?.parse()?; // an ordinary error: again, with backoff
///     match amount {
///         0 => Err(Failure::retry("bank-away", "no answer").after_ms(5_000)), // again, in five seconds
///         1 => Err(Failure::overloaded("bank-busy", "429")), // again, and not counted as an attempt
///         _ => Ok(()),
///     }
/// }
/// # assert_eq!(handle(&Event::of_value(b"0")).unwrap_err().code(), "bank-away");
/// # assert_eq!(handle(&Event::of_value(b"x")).unwrap_err().code(), "error");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) after_ms: Option<u64>,
}

/// Whether trying again could help. The numbers are those of the packed results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Worth trying again; counts as an attempt.
    Retry = 2,
    /// Never worth trying again.
    Reject = 3,
    /// Too busy; tried again later, and not counted.
    Overloaded = 4,
}

impl Failure {
    /// Try again later. `code` is a short word of the plugin's own that groups failures.
    pub fn retry(code: impl Into<String>, message: impl Display) -> Self {
        Self::of(FailureKind::Retry, code, message)
    }

    /// The plugin is too busy; this does not count as an attempt.
    pub fn overloaded(code: impl Into<String>, message: impl Display) -> Self {
        Self::of(FailureKind::Overloaded, code, message)
    }

    /// How long to wait, in milliseconds, instead of the configured backoff.
    #[must_use]
    pub fn after_ms(mut self, after_ms: u64) -> Self {
        self.after_ms = Some(after_ms);
        self
    }

    /// Whether trying again could help.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The plugin's own short word.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The message for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    fn of(kind: FailureKind, code: impl Into<String>, message: impl Display) -> Self {
        Self {
            kind,
            code: code.into(),
            message: message.to_string(),
            after_ms: None,
        }
    }
}

/// A failure that no further attempt can mend: the event goes to the dead-letter topic at once. See [`Failure`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    code: String,
    message: String,
}

impl Reject {
    /// `code` is a short word of the plugin's own that groups failures; `message` is for a person.
    pub fn new(code: impl Into<String>, message: impl Display) -> Self {
        Self {
            code: code.into(),
            message: message.to_string(),
        }
    }
}

impl From<Reject> for Failure {
    fn from(reject: Reject) -> Self {
        Self::of(FailureKind::Reject, reject.code, reject.message)
    }
}

/// Any ordinary error asks for a retry, so that `?` does the safe thing.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry("error", error)
    }
}

/// A record to produce. The topic must be granted to the plugin (`output:NAME`). It counts when the event
/// succeeds, and its offset is committed only after the broker has it: at least once.
///
/// ```
/// use millrace_sdk::Output;
///
/// let output = Output {
///     headers: vec![("trace".to_owned(), Some(b"1f".to_vec()))],
///     ..Output::new("invoices", "12.50").with_key("anna")
/// };
/// assert_eq!(output.key.as_deref(), Some(&b"anna"[..]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Where it goes.
    pub topic: String,
    /// The key; none is a null key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// None lets the partitioner choose by the key.
    pub partition: Option<i32>,
    /// Milliseconds since the Unix epoch; none takes the time of producing.
    pub timestamp_ms: Option<i64>,
    /// Name and value; a value may be null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Output {
    /// A record with a value for a topic.
    pub fn new(topic: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: topic.into(),
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// The same record with a key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }
}
