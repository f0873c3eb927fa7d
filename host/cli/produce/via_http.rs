//! Sends sample events through the HTTP gateway, in batches over one connection.
//!
//! It must not know what the events are.

use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::door::{Door, encrypted};
use super::{Acknowledged, Mode, Source};
use crate::sample::Sample;

/// Events of one request: enough that the way there and back costs little, and an answer that is read at once.
const BATCH_EVENTS_MAX: usize = 1_000;

/// Bytes of an event in its envelope, about.
const LINE_BYTES: usize = 300;

/// How often a batch is sent again that the gateway had no room for; it says how long to wait each time.
const ATTEMPTS_MAX: usize = 60;

/// The wait where the gateway does not say how long.
const PAUSE_DEFAULT: Duration = Duration::from_secs(1);

pub(super) fn send(
    source: &mut Source,
    topic: &str,
    at: (&str, &Door),
    mode: Mode,
) -> anyhow::Result<Acknowledged> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(batches(source, topic, at, mode))
}

async fn batches(
    source: &mut Source,
    topic: &str,
    (address, door): (&str, &Door),
    mode: Mode,
) -> anyhow::Result<Acknowledged> {
    let events_max = match mode {
        Mode::Async => BATCH_EVENTS_MAX,
        Mode::Sync => 1,
    };
    let mut gateway = Gateway::connect(address, door, topic).await?;
    let mut seen = Acknowledged::default();
    loop {
        let wait = source.due_in();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let batch = gather(source, events_max)?;
        if batch.is_empty() {
            return Ok(seen);
        }
        gateway.publish(batch, &mut seen).await?;
    }
}

/// Everything that is due, up to a batch, as envelopes.
fn gather(source: &mut Source, events_max: usize) -> anyhow::Result<Bytes> {
    let mut lines = Vec::with_capacity(events_max * LINE_BYTES);
    for _ in 0..events_max {
        if !lines.is_empty() && !source.due_in().is_zero() {
            break;
        }
        let Some(sample) = source.take()? else { break };
        push_line(&mut lines, &sample)?;
    }
    Ok(lines.into())
}

/// Malformed events are no JSON, so they go as bytes.
fn push_line(lines: &mut Vec<u8>, sample: &Sample) -> anyhow::Result<()> {
    lines.extend_from_slice(b"{\"key\":");
    serde_json::to_writer(&mut *lines, &sample.key)?;
    if serde_json::from_str::<serde::de::IgnoredAny>(&sample.value).is_ok()
        && !sample.value.contains('\n')
    {
        lines.extend_from_slice(b",\"value\":");
        lines.extend_from_slice(sample.value.as_bytes());
    } else {
        lines.extend_from_slice(b",\"value_base64\":\"");
        lines.extend_from_slice(STANDARD.encode(&sample.value).as_bytes());
        lines.push(b'"');
    }
    lines.extend_from_slice(b"}\n");
    Ok(())
}

/// A connection to the gateway.
struct Gateway {
    requests: SendRequest<Full<Bytes>>,
    address: String,
    path: String,
    authorization: Option<String>,
}

/// What is read of an answer. Of a request that was refused as a whole, only the problem is there.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    events: Vec<EventAnswer>,
    #[serde(flatten)]
    problem: Problem,
}

#[derive(Deserialize)]
struct EventAnswer {
    status: u16,
    #[serde(flatten)]
    problem: Problem,
}

#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
}

impl Gateway {
    async fn connect(address: &str, door: &Door, topic: &str) -> anyhow::Result<Self> {
        let nobody = || {
            format!(
                "no HTTP gateway answers at {address}; check the address and that the host runs with \
                 ingest.http configured"
            )
        };
        // A connection ends with its requests, and what went wrong with it shows in theirs.
        let requests = match door.connector(false)? {
            None => {
                let stream = TcpStream::connect(address).await.with_context(nobody)?;
                // The end of a request must not wait until its beginning is acknowledged.
                stream.set_nodelay(true)?;
                let shaken = http1::handshake(TokioIo::new(stream)).await;
                let (requests, connection) = shaken.with_context(nobody)?;
                tokio::spawn(connection);
                requests
            }
            Some(connector) => {
                let stream = encrypted(&connector, address).await.with_context(nobody)?;
                let shaken = http1::handshake(TokioIo::new(stream)).await;
                let (requests, connection) = shaken.with_context(nobody)?;
                tokio::spawn(connection);
                requests
            }
        };
        Ok(Self {
            requests,
            address: address.to_owned(),
            path: format!("/v1/topics/{topic}/events?envelope=true"),
            authorization: door.authorization(),
        })
    }

    async fn publish(&mut self, batch: Bytes, seen: &mut Acknowledged) -> anyhow::Result<()> {
        let events = memchr::memchr_iter(b'\n', &batch).count();
        for attempt in 1.. {
            let mut request = Request::post(&self.path)
                .header(header::HOST, &self.address)
                .header(header::CONTENT_TYPE, "application/x-ndjson");
            if let Some(authorization) = &self.authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let request = request.body(Full::new(batch.clone()))?;
            let response = self.requests.send_request(request).await;
            let (head, body) = response
                .context("the gateway closed the connection")?
                .into_parts();
            let body = body.collect().await;
            let body = body.context("the gateway's answer was cut off")?.to_bytes();
            if head.status != StatusCode::TOO_MANY_REQUESTS || attempt == ATTEMPTS_MAX {
                return note(head.status, &body, events, seen);
            }
            // Nothing of it was sent.
            let pause = head.headers.get(header::RETRY_AFTER);
            let pause = pause.and_then(|pause| pause.to_str().ok()?.parse().ok());
            tokio::time::sleep(pause.map_or(PAUSE_DEFAULT, Duration::from_secs)).await;
        }
        Ok(())
    }
}

fn note(
    status: StatusCode,
    body: &[u8],
    events: usize,
    seen: &mut Acknowledged,
) -> anyhow::Result<()> {
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        bail!("the gateway answered {status} and no JSON; is something else listening there?");
    };
    if answer.events.is_empty() {
        for _ in 0..events {
            failed(&answer.problem, status, seen);
        }
    }
    for event in answer.events {
        match event.status {
            202 => seen.events += 1,
            _ => failed(&event.problem, status, seen),
        }
    }
    Ok(())
}

fn failed(problem: &Problem, status: StatusCode, seen: &mut Acknowledged) {
    let cause = if problem.code.is_empty() {
        status.as_str().to_owned()
    } else {
        problem.code.to_ascii_lowercase()
    };
    seen.failed(&cause, || problem.detail.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_and_the_first_failure_is_kept() {
        let mut seen = Acknowledged::default();
        note(
            StatusCode::ACCEPTED,
            br#"{"events":[{"status":202,"offset":1}]}"#,
            1,
            &mut seen,
        )
        .unwrap();
        assert_eq!((seen.events, &seen.failure), (1, &None));
        let some = br#"{"events":[{"status":202},{"status":413,"code":"TOO_LARGE","detail":"too large"}]}"#;
        note(StatusCode::MULTI_STATUS, some, 2, &mut seen).unwrap();
        let none = br#"{"status":404,"code":"UNKNOWN_TOPIC","detail":"no topic"}"#;
        note(StatusCode::NOT_FOUND, none, 3, &mut seen).unwrap();
        assert_eq!(
            (seen.events, seen.failure.as_deref()),
            (2, Some("too large"))
        );
        assert_eq!(
            (seen.causes["too_large"], seen.causes["unknown_topic"]),
            (1, 3)
        );
        assert!(note(StatusCode::OK, b"<html>", 1, &mut seen).is_err());
    }

    #[test]
    fn a_malformed_event_is_sent_as_bytes() {
        let mut sampler = crate::sample::Sampler::new(crate::sample::SampleSettings {
            bad_share: 0.5,
            duplicate_share: 0.0,
            users: 3,
            seed: 7,
            start_ms: 1,
            step_us: 10,
        });
        let mut as_bytes = 0;
        for _ in 0..200 {
            let sample = sampler.make();
            let mut line = Vec::new();
            push_line(&mut line, &sample).unwrap();
            let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
            if let Some(base64) = line["value_base64"].as_str() {
                as_bytes += 1;
                assert_eq!(STANDARD.decode(base64).unwrap(), sample.value.as_bytes());
            }
            assert_eq!(line["key"], sample.key);
        }
        assert!(as_bytes > 5, "{as_bytes}");
    }
}
