//! An HTTP client that does what it is told and no more, so that a test knows each byte it sends.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Above any time-out that a gateway has.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "{} {}: {error}",
                self.status,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    /// A header; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Posts events to a topic; `more` is the query, with its `?`, or nothing.
pub(crate) fn publish(
    gateway: SocketAddr,
    topic: &str,
    more: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Reply> {
    let path = format!("/v1/topics/{topic}/events{more}");
    ask(gateway, "POST", &path, headers, body)
}

/// Sends one request over a connection of its own.
pub(crate) fn ask(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Reply> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut stream = connect(server)?;
    stream.write_all(head.as_bytes())?;
    // A server that refuses early may close before it has read everything; its answer still counts.
    let sent = stream.write_all(body);
    read(&mut stream).map_err(|error| sent.err().unwrap_or(error))
}

/// Sends a request of HTTP/1.0, whose answer ends with the connection however the server would frame it, to a port of
/// this machine: status and body.
pub(crate) fn exchange(port: u16, request: &str) -> io::Result<(u16, String)> {
    let mut stream = connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1);
    let status = status.and_then(|status| status.parse().ok());
    Ok((status.unwrap_or_default(), body.to_owned()))
}

/// A connection that gives up in time.
pub(crate) fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one answer.
pub(crate) fn read(stream: &mut TcpStream) -> io::Result<Reply> {
    let cut = |what: &str| io::Error::new(io::ErrorKind::UnexpectedEof, what.to_owned());
    let mut received = Vec::new();
    let mut piece = [0; 16 << 10];
    let (head_end, length) = loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"));
            break (
                end,
                length
                    .and_then(|length| length.trim().parse::<usize>().ok())
                    .unwrap_or(0),
            );
        }
        match stream.read(&mut piece)? {
            0 => return Err(cut("the connection was closed without an answer")),
            read => received.extend_from_slice(&piece[..read]),
        }
    };
    while received.len() < head_end + 4 + length {
        match stream.read(&mut piece)? {
            0 => return Err(cut("the answer was cut off")),
            read => received.extend_from_slice(&piece[..read]),
        }
    }
    let head = String::from_utf8_lossy(&received[..head_end]).into_owned();
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    Ok(Reply {
        status: status.ok_or_else(|| cut("the answer has no status"))?,
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        body: received[head_end + 4..head_end + 4 + length].to_vec(),
    })
}
