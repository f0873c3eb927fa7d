//! A collector that takes in every span by OTLP over HTTP and keeps none, so that what tracing costs is the host's part
//! of it. It counts bytes, and must not know what they say.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// One that runs for as long as this process.
#[derive(Debug)]
pub(crate) struct Collector {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let bytes = Arc::new(AtomicU64::new(0));
        let taken = Arc::clone(&bytes);
        thread::spawn(move || {
            // A host has one connection at a time, and each run is a host of its own.
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&taken);
                thread::spawn(move || while take(&stream, &taken).is_some() {});
            }
        });
        Self { address, bytes }
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes of requests since this was asked the last time.
    pub(crate) fn take_bytes(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

/// Takes a request in and answers it; none when the host has closed the connection.
fn take(stream: &TcpStream, taken: &AtomicU64) -> Option<()> {
    // A host that waits for each answer sends nothing behind a request, so that nothing is read ahead of it.
    let mut request = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if request.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let (name, value) = line.trim_end().split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().expect("a length is a number");
        }
        if line == "\r\n" {
            break;
        }
    }
    let read = std::io::copy(&mut request.take(length), &mut std::io::sink()).ok()?;
    taken.fetch_add(read, Ordering::Relaxed);
    let answer =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
    let mut stream = stream;
    stream.write_all(answer).ok()
}
