//! Requests to web servers, each over a connection of its own, within limits of time and size. It must not know what
//! they are about.

use std::sync::OnceLock;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION};
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::RegistryError;
use crate::tls;
use crate::web::{connect, exchange};

/// From the name of a server to the end of its handshake. Whoever waits longer has another problem.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Until the head of an answer is there. A registry may have to ask its storage first, or take a layer in.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// Between two pieces of a body: a line that carries nothing for so long is dead.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// For a whole body. The largest that is allowed by default takes this at half a megabit a second.
const BODY_TIMEOUT: Duration = Duration::from_mins(10);

/// A registry sends to its storage, and that to the place nearest; more is a circle.
const REDIRECTS_MAX: usize = 5;

/// Of an answer that says what is wrong, in bytes; the rest is for machines.
const REASON_BYTES_MAX: u64 = 16 << 10;

/// Longest text of a server's own in a message, in characters.
const REASON_CHARS_MAX: usize = 300;

/// What is asked for.
pub(super) struct Want {
    /// The reference, for messages.
    pub(super) what: String,
    pub(super) bytes_max: u64,
}

/// Asks servers.
pub(super) struct Client {
    /// Made with the first encrypted connection.
    tls: OnceLock<Result<TlsConnector, String>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// The answer of one server, whose address counts where the answer names others relative to it.
pub(super) struct Answer {
    pub(super) from: Uri,
    pub(super) response: Response<Incoming>,
}

impl Client {
    pub(super) fn new() -> Self {
        Self {
            tls: OnceLock::new(),
        }
    }

    /// A file that is there for everyone.
    pub(super) async fn file(&self, url: &str, want: &Want) -> Result<Vec<u8>, RegistryError> {
        let request = Request::get(url).body(Bytes::new());
        let request = request.map_err(|error| malformed(&want.what, url, &error))?;
        let answer = self.send(request, &want.what).await?;
        let answer = self.follow(answer, None, &want.what).await?;
        if answer.response.status() != StatusCode::OK {
            return Err(answer.refusal(&want.what).await);
        }
        answer.body(want).await
    }

    /// Sends one request. What the answer says is not looked at.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        what: &str,
    ) -> Result<Answer, RegistryError> {
        let from = request.uri().clone();
        let away = |message: String| RegistryError::Away {
            what: what.to_owned(),
            host: host_of(&from),
            message,
        };
        let late = |_| {
            away(format!(
                "no connection within {} s",
                CONNECT_TIMEOUT.as_secs()
            ))
        };
        let stream = timeout(CONNECT_TIMEOUT, connect(&from))
            .await
            .map_err(late)?;
        let stream = stream.map_err(|error| away(error.to_string()))?;
        let response = if from.scheme() == Some(&Scheme::HTTPS) {
            let connector = self.tls.get_or_init(tls::client::connector).clone();
            let connector = connector.map_err(RegistryError::Host)?;
            let name = tls::client::server_name(from.host().unwrap_or_default())
                .map_err(|error| away(error.to_string()))?;
            let stream = timeout(CONNECT_TIMEOUT, connector.connect(name, stream)).await;
            let stream = stream.map_err(late)?.map_err(|error| {
                let trust = if tls::client::is_about_certificate(&error) {
                    "its certificate is not trusted: "
                } else {
                    ""
                };
                away(format!("{trust}{error}"))
            })?;
            timeout(ANSWER_TIMEOUT, exchange(stream, request)).await
        } else {
            timeout(ANSWER_TIMEOUT, exchange(stream, request)).await
        };
        let response = response
            .map_err(|_| away(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))?
            .map_err(|error| away(error.to_string()))?;
        Ok(Answer { from, response })
    }

    /// Goes where an answer to a `GET` sends, with its authorization as long as that is the same server.
    pub(super) async fn follow(
        &self,
        mut answer: Answer,
        authorization: Option<&HeaderValue>,
        what: &str,
    ) -> Result<Answer, RegistryError> {
        for _ in 0..REDIRECTS_MAX {
            if !answer.response.status().is_redirection() {
                return Ok(answer);
            }
            let to = answer.location(what)?;
            let mut request = Request::builder().method(Method::GET).uri(&to);
            if let Some(authorization) = authorization.filter(|_| same_server(&answer.from, &to)) {
                request = request.header(AUTHORIZATION, authorization);
            }
            let request = request.body(Bytes::new());
            let request = request.map_err(|error| malformed(what, &host_of(&to), &error))?;
            answer = self.send(request, what).await?;
        }
        let message = format!("sent on more than {REDIRECTS_MAX} times");
        Err(malformed(what, &host_of(&answer.from), &message))
    }
}

impl Answer {
    /// Where the answer sends. Nothing that was asked for encrypted is taken in the clear.
    pub(super) fn location(&self, what: &str) -> Result<Uri, RegistryError> {
        let refuse = |message: &str| malformed(what, &host_of(&self.from), &message);
        let location = self.response.headers().get(LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| refuse("it names no other place"))?;
        let absolute = if location.starts_with('/') {
            let scheme = self.from.scheme_str().unwrap_or("https");
            let authority = self
                .from
                .authority()
                .map_or("", http::uri::Authority::as_str);
            format!("{scheme}://{authority}{location}")
        } else {
            location.to_owned()
        };
        let to: Uri = absolute
            .parse()
            .map_err(|_| refuse("the other place that it names is no address"))?;
        let encrypted = to.scheme() == Some(&Scheme::HTTPS);
        let plain = to.scheme() == Some(&Scheme::HTTP);
        if to.host().is_none() || !(encrypted || plain) {
            return Err(refuse("the other place that it names is no address"));
        }
        if plain && self.from.scheme() == Some(&Scheme::HTTPS) {
            return Err(refuse("it sends to a place that is not encrypted"));
        }
        Ok(to)
    }

    /// The whole body.
    pub(super) async fn body(self, want: &Want) -> Result<Vec<u8>, RegistryError> {
        let host = host_of(&self.from);
        let too_large = || RegistryError::TooLarge {
            what: want.what.clone(),
            limit: want.bytes_max,
        };
        let declared = self.response.headers().get(CONTENT_LENGTH);
        let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|bytes| bytes > want.bytes_max) {
            return Err(too_large());
        }
        let away = |message: String| RegistryError::Away {
            what: want.what.clone(),
            host: host.clone(),
            message,
        };
        let mut body = self.response.into_body();
        let read = async {
            let mut bytes = Vec::new();
            loop {
                let frame = timeout(STALL_TIMEOUT, body.frame()).await.map_err(|_| {
                    away(format!(
                        "nothing more came within {} s",
                        STALL_TIMEOUT.as_secs()
                    ))
                })?;
                let Some(frame) = frame else {
                    return Ok(bytes);
                };
                let frame = frame.map_err(|error| away(error.to_string()))?;
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                if (bytes.len() + data.len()) as u64 > want.bytes_max {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&data);
            }
        };
        let late = |_| away(format!("not all came within {} s", BODY_TIMEOUT.as_secs()));
        timeout(BODY_TIMEOUT, read).await.map_err(late)?
    }

    /// What an answer that is none means.
    pub(super) async fn refusal(self, what: &str) -> RegistryError {
        let (host, status) = (host_of(&self.from), self.response.status());
        let told = self.told().await;
        let what = what.to_owned();
        match status {
            StatusCode::NOT_FOUND => RegistryError::NotFound { what, told },
            _ => RegistryError::Answered {
                what,
                host,
                status: status.as_u16(),
                told,
            },
        }
    }

    /// The reason that a registry gives, with a comma before it; nothing where there is none.
    pub(super) async fn told(self) -> String {
        let want = Want {
            what: String::new(),
            bytes_max: REASON_BYTES_MAX,
        };
        let bytes = self.body(&want).await.unwrap_or_default();
        let said: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let error = &said["errors"][0];
        let reason = error["message"].as_str().or(error["code"].as_str());
        let shown = reason.unwrap_or_default().chars();
        let shown: String = shown
            .filter(|char| !char.is_control())
            .take(REASON_CHARS_MAX)
            .collect();
        if shown.is_empty() {
            shown
        } else {
            format!(", {shown}")
        }
    }
}

pub(super) fn same_server(one: &Uri, other: &Uri) -> bool {
    one.authority() == other.authority() && one.scheme() == other.scheme()
}

pub(super) fn host_of(uri: &Uri) -> String {
    uri.authority()
        .map_or_else(String::new, ToString::to_string)
}

pub(super) fn malformed(what: &str, host: &str, message: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::Malformed {
        what: what.to_owned(),
        host: host.to_owned(),
        message: message.to_string(),
    }
}
