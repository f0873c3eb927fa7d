//! A web server that does what a test tells it to, for what no registry does when it is asked nicely.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// What it was asked: method and path, and the headers as they came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) line: String,
    head: String,
}

impl Asked {
    /// A header by its name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = pairs.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }
}

/// What it answers: status, headers and body.
pub(super) struct Answer(pub(super) u16, pub(super) Vec<String>, pub(super) Vec<u8>);

impl Answer {
    pub(super) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self(200, Vec::new(), body.into())
    }

    pub(super) fn with(status: u16, header: String) -> Self {
        Self(status, vec![header], Vec::new())
    }
}

/// The server. It lasts as long as the test process.
#[derive(Clone)]
pub(super) struct Scripted {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// Starts it. The script gets the server's own address too.
    pub(super) fn start(script: impl Fn(SocketAddr, &Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let scripted = Self {
            address,
            asked: Arc::default(),
        };
        let asked = Arc::clone(&scripted.asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client may go in the middle; the next one comes all the same.
                serve(stream, &asked, |it| script(address, it)).ok();
            }
        });
        scripted
    }

    /// Everything that it was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        let asked = self.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(
    mut stream: TcpStream,
    all: &Mutex<Vec<Asked>>,
    answer: impl Fn(&Asked) -> Answer,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.lines().next().unwrap_or_default();
    let line = line.trim_end_matches(" HTTP/1.1").to_owned();
    let asked = Asked { line, head };
    let Answer(status, headers, body) = answer(&asked);
    all.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(asked);
    let mut text = format!(
        "HTTP/1.1 {status} told\r\nContent-Length: {}\r\n",
        body.len()
    );
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    text.push_str("Connection: close\r\n\r\n");
    stream.write_all(text.as_bytes())?;
    stream.write_all(&body)
}
