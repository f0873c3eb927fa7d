//! What is said when a request is refused: a problem of RFC 9457, with what to do about it.
//!
//! It must not know how a request was read or an event sent.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::ingest::refusal::{Refusal, Status};

/// Media type of a problem.
pub(super) const PROBLEM: &str = "application/problem+json";

/// Begins the `type` of every problem; its code follows, in lower case and with dashes.
const TYPE_PREFIX: &str = "urn:millrace:problem:";

/// The kinds of refusals. Each has one status and one word, which gRPC has too where it has the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Invalid,
    Unauthenticated,
    Denied,
    UnknownTopic,
    NotFound,
    MethodNotAllowed,
    Timeout,
    TooLarge,
    UnsupportedMediaType,
    SchemaViolation,
    Overloaded,
    Unavailable,
}

impl Kind {
    /// Every kind.
    #[cfg(test)]
    pub(super) const ALL: [Self; 12] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Denied,
        Self::UnknownTopic,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::SchemaViolation,
        Self::Overloaded,
        Self::Unavailable,
    ];

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::UnknownTopic | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::SchemaViolation => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Its word, as in `TOO_LARGE`.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Denied => "DENIED",
            Self::UnknownTopic => "UNKNOWN_TOPIC",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::Timeout => "TIMEOUT",
            Self::TooLarge => "TOO_LARGE",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::SchemaViolation => "SCHEMA_VIOLATION",
            Self::Overloaded => "OVERLOADED",
            Self::Unavailable => "UNAVAILABLE",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Invalid => "The request or event breaks a rule",
            Self::Unauthenticated => "The request shows no valid token",
            Self::Denied => "This publisher may not write there",
            Self::UnknownTopic => "The topic does not exist",
            Self::NotFound => "Nothing is served there",
            Self::MethodNotAllowed => "The method is not served there",
            Self::Timeout => "The request came too slowly",
            Self::TooLarge => "The request or event is too large",
            Self::UnsupportedMediaType => "The content cannot be read",
            Self::SchemaViolation => "The event does not fit its schema",
            Self::Overloaded => "Too much waits for the broker",
            Self::Unavailable => "The broker did not acknowledge",
        }
    }

    fn of(status: Status) -> Self {
        match status {
            // Nothing of HTTP gives a deadline, and what was taken in is a success: neither is a refusal.
            Status::Ok | Status::DeadlineExceeded | Status::Unavailable => Self::Unavailable,
            Status::Invalid => Self::Invalid,
            Status::TooLarge => Self::TooLarge,
            Status::UnknownTopic => Self::UnknownTopic,
            Status::Denied => Self::Denied,
            Status::Overloaded => Self::Overloaded,
            Status::Unauthenticated => Self::Unauthenticated,
        }
    }
}

/// A refusal of a whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    /// What is wrong with this request, and what to do.
    pub(super) detail: String,
    /// A header that belongs to the status; boxed, because few have one and every answer would carry its room.
    with: Option<Box<(HeaderName, HeaderValue)>>,
    /// What became of each event, as JSON, where it was a batch.
    events: Option<String>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            with: None,
            events: None,
        }
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    /// With a header beside the usual ones.
    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.with = Some(Box::new((name, HeaderValue::from_static(value))));
        self
    }

    /// With what became of each event: a JSON array.
    pub(super) fn with_events(mut self, events: String) -> Self {
        self.events = Some(events);
        self
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let kind = match refusal {
            Refusal::Flawed(_) => Kind::SchemaViolation,
            other => Kind::of(other.status()),
        };
        let mut problem = Self::new(kind, refusal.to_string());
        if let Some(pause) = refusal.retry_after() {
            // The header says whole seconds.
            let seconds = pause.as_millis().div_ceil(1_000);
            let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
            problem.with = Some(Box::new((header::RETRY_AFTER, seconds)));
        }
        if problem.kind == Kind::Unauthenticated {
            return problem.with(header::WWW_AUTHENTICATE, "Bearer");
        }
        problem
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::from(&refusal)
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = self.kind.code();
        let shown = Shown {
            r#type: format!(
                "{TYPE_PREFIX}{}",
                code.to_ascii_lowercase().replace('_', "-")
            ),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            code,
        };
        // Strings and a number: there is nothing in it that cannot be written.
        let mut body = serde_json::to_string(&shown).unwrap_or_default();
        if let Some(events) = self.events {
            body.pop();
            body.push_str(",\"events\":");
            body.push_str(&events);
            body.push('}');
        }
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if let Some(header) = self.with {
            let (name, value) = *header;
            headers.insert(name, value);
        }
        response
    }
}
