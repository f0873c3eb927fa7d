//! HTTP/2 frame by frame, for clients that keep to no rule. It knows nothing of gRPC or the host.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A SETTINGS frame that gives answers no window.
pub(crate) fn settings_without_window() -> Vec<u8> {
    // SETTINGS_INITIAL_WINDOW_SIZE is 4.
    frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])
}

/// The head of a gRPC call, each field literal and not indexed.
pub(crate) fn call(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in fields.iter().chain(more) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("a short text"));
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A connection that has sent its preface and its settings.
pub(crate) fn connect(server: SocketAddr, settings: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(10))?;
    stream.set_nodelay(true)?;
    stream.write_all(PREFACE)?;
    stream.write_all(settings)?;
    Ok(stream)
}

/// Reads frames up to one of this kind with all of these flags. The kinds of those before it.
///
/// # Errors
/// The server says that it goes away, or closes.
pub(crate) fn read_until(stream: &mut TcpStream, kind: u8, flags: u8) -> io::Result<Vec<u8>> {
    let mut before = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload)?;
        if head[3] == GOAWAY {
            let said = String::from_utf8_lossy(payload.get(8..).unwrap_or_default()).into_owned();
            return Err(io::Error::other(format!("the server goes away: {said}")));
        }
        if head[3] == kind && head[4] & flags == flags {
            return Ok(before);
        }
        before.push(head[3]);
    }
}

/// Sends `wave` again and again, and reads what comes meanwhile. How many were sent until the server closed, or
/// `most` where it did not.
pub(crate) fn flood(
    stream: &mut TcpStream,
    most: usize,
    mut wave: impl FnMut(usize) -> Vec<u8>,
) -> usize {
    let mut reading = stream.try_clone().expect("a socket can be cloned");
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        // Ends with the connection; what the server says is of no interest here.
        while matches!(reading.read(&mut buffer), Ok(read) if read > 0) {}
    });
    // A server that reads no more but keeps the connection has ended the flood too.
    stream
        .set_write_timeout(Some(Duration::from_secs(5)))
        .expect("it can be set");
    let sent = (0..most).find(|n| stream.write_all(&wave(*n)).is_err());
    stream.shutdown(std::net::Shutdown::Both).ok();
    reader.join().expect("it only reads");
    sent.unwrap_or(most)
}
