//! HTTP by way of a tape: what a server answered is noted as it is read, or answered again without a server.
//!
//! It must not know what may be asked of whom.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use wasmtime_wasi_http::{Error, WasiBody};

use super::{Answered, Connection};
use crate::sandbox::tape::{Place, Tape};
use crate::sandbox::transcript::{self, HostAnswer};

/// Notes what a request came to.
pub(super) fn noted(tape: &Tape, answered: Answered) -> Answered {
    let (answer, connection) = answered.inspect_err(|error| {
        tape.http(HostAnswer::HttpFailed(word(error)));
    })?;
    let of = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = transcript::Bytes(value.as_bytes().to_vec());
        (name.as_str().to_owned(), value)
    };
    let place = tape.http(HostAnswer::Http {
        status: answer.status().as_u16(),
        headers: answer.headers().iter().map(of).collect(),
        body: transcript::Bytes::default(),
        failed: None,
    });
    let tape = tape.clone();
    let answer = answer.map(|body| Noted { body, tape, place }.boxed_unsync());
    Ok((answer, connection))
}

/// What the tape says that a request came to.
pub(super) fn again(answer: Option<HostAnswer>) -> Answered {
    let (status, headers, body, failed) = match answer {
        Some(HostAnswer::Http {
            status,
            headers,
            body,
            failed,
        }) => (status, headers, body.0, failed),
        Some(HostAnswer::HttpFailed(why)) => return Err(error(&why)),
        _ => return Err(Error::ConnectionTerminated),
    };
    let mut answer = http::Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(name, value.0);
    }
    let body = Broken {
        body: Full::new(Bytes::from(body)),
        failed,
    };
    let answer = answer.body(body.boxed_unsync());
    let connection: Connection = Box::new(async { Ok(()) });
    Ok((answer.map_err(|_| Error::HttpProtocolError)?, connection))
}

/// A body that is noted while it is read.
struct Noted {
    body: WasiBody,
    tape: Tape,
    place: Place,
}

impl Body for Noted {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.tape.http_body(self.place, Ok(data));
                }
            }
            Poll::Ready(Some(Err(error))) => self.tape.http_body(self.place, Err(&word(error))),
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that ends with an error, where one is left.
struct Broken {
    body: Full<Bytes>,
    failed: Option<String>,
}

impl Body for Broken {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(None) => Poll::Ready(self.failed.take().map(|why| Err(error(&why)))),
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(never))) => match never {},
            Poll::Pending => Poll::Pending,
        }
    }
}

type Failure = (&'static str, fn() -> Error);

/// The kinds of failure that a guest can tell apart, by their words.
const FAILURES: [Failure; 8] = [
    ("connection-timeout", || Error::ConnectionTimeout),
    ("connection-read-timeout", || Error::ConnectionReadTimeout),
    ("response-timeout", || Error::HttpResponseTimeout),
    ("request-denied", || Error::HttpRequestDenied),
    ("destination-not-found", || Error::DestinationNotFound),
    ("address-prohibited", || Error::DestinationIpProhibited),
    ("connection-refused", || Error::ConnectionRefused),
    ("tls", || Error::TlsProtocolError),
];

type Size = (&'static str, fn(Option<u64>) -> Error);

/// Those that say how many bytes were too many.
const SIZES: [Size; 2] = [
    ("response-too-large", Error::HttpResponseBodySize),
    ("request-too-large", Error::HttpRequestBodySize),
];

/// What is none of these.
const BROKEN_OFF: &str = "connection-terminated";

fn word(error: &Error) -> String {
    let sized = |word: &str, bytes: Option<u64>| match bytes {
        Some(bytes) => format!("{word}:{bytes}"),
        None => word.to_owned(),
    };
    let word = match error {
        Error::ConnectionTimeout => "connection-timeout",
        Error::ConnectionReadTimeout => "connection-read-timeout",
        Error::HttpResponseTimeout => "response-timeout",
        Error::HttpRequestDenied => "request-denied",
        Error::DestinationNotFound | Error::DnsError { .. } => "destination-not-found",
        Error::DestinationIpProhibited => "address-prohibited",
        Error::ConnectionRefused | Error::Connect(_) => "connection-refused",
        Error::Tls(_) | Error::TlsProtocolError | Error::TlsCertificateError => "tls",
        Error::HttpResponseBodySize(bytes) => return sized("response-too-large", *bytes),
        Error::HttpRequestBodySize(bytes) => return sized("request-too-large", *bytes),
        _ => BROKEN_OFF,
    };
    word.to_owned()
}

fn error(word: &str) -> Error {
    let (word, bytes) = word.split_once(':').unwrap_or((word, ""));
    if let Some((_, make)) = SIZES.iter().find(|(known, _)| *known == word) {
        return make(bytes.parse().ok());
    }
    let made = FAILURES.iter().find(|(known, _)| *known == word);
    made.map_or(Error::ConnectionTerminated, |(_, make)| make())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_the_same_when_it_is_played_back() {
        for (name, make) in FAILURES {
            assert_eq!(word(&make()), name);
            assert_eq!(word(&error(name)), name);
        }
        for name in ["response-too-large:9", "request-too-large", BROKEN_OFF] {
            assert_eq!(word(&error(name)), name);
        }
    }
}
