//! Makes the HTTP requests that its events describe, and outputs what came of them.
//!
//! By itself it uses `wasi:http` with blocking streams, as a client without an event loop does; with `"wstd"`
//! it uses that crate's client, which polls.

use millrace_sdk::{Event, Failure, Output, Reject, Success};
use serde::Deserialize;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    Scheme,
};
use wasip2::io::streams::StreamError;

/// One event's value.
#[derive(Deserialize)]
struct Order {
    /// Scheme, host and path.
    url: String,
    /// Bytes of the body that is sent; none sends no body.
    send: Option<usize>,
    /// One header of so many bytes.
    header: Option<usize>,
    /// How often, one after the other, until one fails.
    #[serde(default = "once")]
    times: usize,
    /// By the client of wstd.
    #[serde(default)]
    wstd: bool,
    /// The topic that is told what came of it.
    to: Option<String>,
    /// Writes a body without ever sending its request.
    #[serde(default)]
    unsent: bool,
}

fn once() -> usize {
    1
}

fn handle(event: &Event<'_>) -> Result<Success, Failure> {
    let value = event.value().unwrap_or_default();
    let order: Order = serde_json::from_slice(value).map_err(|e| Reject::new("malformed", e))?;
    let mut said = String::new();
    for _ in 0..order.times {
        let answered = if order.wstd {
            by_wstd(&order.url)
        } else {
            fetch(&order)
        };
        match answered {
            Ok((status, body)) => said = format!("{status} {body}"),
            Err(error) => {
                said = error;
                break;
            }
        }
    }
    let to = order.to.as_deref().unwrap_or("outputs");
    Ok(Output::new(to, said).into())
}

fn by_wstd(url: &str) -> Result<(u16, String), String> {
    use wstd::http::{Body, Client, Request};
    wstd::runtime::block_on(async {
        let request = Request::get(url).body(Body::empty());
        let request = request.map_err(|e| e.to_string())?;
        let answer = Client::new().send(request).await;
        let mut answer = answer.map_err(|e| format!("{e:?}"))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().contents().await;
        let body = body.map_err(|e| format!("{e:?}"))?;
        Ok((status, String::from_utf8_lossy(body).into_owned()))
    })
}

fn fetch(order: &Order) -> Result<(u16, String), String> {
    let fields = Fields::new();
    if let Some(bytes) = order.header {
        let value = vec![b'h'; bytes];
        fields
            .append("x-long", &value)
            .map_err(|e| format!("{e:?}"))?;
    }
    let (scheme, rest) = order.url.split_once("://").ok_or("no scheme")?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let request = OutgoingRequest::new(fields);
    let scheme = if scheme == "http" {
        Scheme::Http
    } else {
        Scheme::Https
    };
    let unusable = |()| "the request is not usable".to_owned();
    request.set_scheme(Some(&scheme)).map_err(unusable)?;
    request.set_authority(Some(host)).map_err(unusable)?;
    request.set_path_with_query(Some(path)).map_err(unusable)?;
    let body = match order.send {
        Some(_) => {
            request.set_method(&Method::Post).map_err(unusable)?;
            Some(request.body().map_err(unusable)?)
        }
        None => None,
    };
    if order.unsent {
        let body = body.ok_or("nothing to write")?;
        return write(body, order.send.unwrap_or(0)).map(|()| (0, String::new()));
    }
    let answer = outgoing_handler::handle(request, None).map_err(code)?;
    let written = body.map_or(Ok(()), |body| write(body, order.send.unwrap_or(0)));
    answer.subscribe().block();
    let answer = answer
        .get()
        .ok_or("no answer")?
        .map_err(|()| "asked twice")?;
    let answer = answer.map_err(code)?;
    written?;
    Ok((answer.status(), read(&answer)?))
}

fn write(body: OutgoingBody, mut bytes: usize) -> Result<(), String> {
    let stream = body.write().map_err(|()| "no stream")?;
    while bytes > 0 {
        let piece = bytes.min(4096);
        stream
            .blocking_write_and_flush(&vec![b'x'; piece])
            .map_err(stream_error)?;
        bytes -= piece;
    }
    drop(stream);
    OutgoingBody::finish(body, None).map_err(code)
}

/// The length of a body that is long, and else the body itself.
fn read(answer: &IncomingResponse) -> Result<String, String> {
    let body: IncomingBody = answer.consume().map_err(|()| "no body")?;
    let stream = body.stream().map_err(|()| "no stream")?;
    let mut all = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(bytes) => all.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(stream_error(error)),
        }
    }
    if all.len() > 200 {
        return Ok(format!("{} bytes", all.len()));
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

fn stream_error(error: StreamError) -> String {
    match error {
        StreamError::LastOperationFailed(error) => {
            match wasip2::http::types::http_error_code(&error) {
                Some(known) => code(known),
                None => error.to_debug_string(),
            }
        }
        StreamError::Closed => "the stream is closed".to_owned(),
    }
}

fn code(code: ErrorCode) -> String {
    format!("{code:?}")
}

millrace_sdk::plugin!(handle: handle);
