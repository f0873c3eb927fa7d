//! Clients that hold connections and do nothing with them: idle, half-way through a TLS handshake, with the head of a
//! request at one byte a second, and without a window for the answer. It knows TLS and HTTP/2, and nothing of the host.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use super::frames;

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// One slow connection.
enum Slow {
    /// Says nothing.
    Idle(TcpStream),
    /// Has sent the beginning of its ClientHello.
    HalfShaken(TcpStream),
    /// Sends the head of a request byte by byte.
    Trickling(Box<Tls>, Vec<u8>),
    /// Has made a call, and takes no byte of its answer.
    Windowless(Box<Tls>),
}

/// How many connections come back in a second of those that the server has closed.
const COME_BACK: usize = 100;

/// Connections that stay open, and are opened again when the server closes them, until this is dropped.
pub(crate) struct SlowCrowd {
    stop: Arc<AtomicBool>,
    open: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
    holder: Option<JoinHandle<()>>,
}

impl SlowCrowd {
    /// Opens `count` connections, a quarter of each kind, and keeps at it.
    pub(crate) fn gather(server: SocketAddr, connector: &TlsConnector, count: usize) -> Self {
        let (stop, open, opened) =
            <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let shared = (Arc::clone(&stop), Arc::clone(&open), Arc::clone(&opened));
        let connector = connector.clone();
        let holder = std::thread::spawn(move || {
            let (stop, open, opened) = shared;
            let mut crowd: Vec<Option<Slow>> = Vec::new();
            crowd.resize_with(count, || None);
            let mut may_come = count;
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                for (n, place) in crowd.iter_mut().enumerate() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    if place.as_mut().is_some_and(Slow::goes_on) {
                        continue;
                    }
                    *place = None;
                    if may_come > 0 {
                        may_come -= 1;
                        // One that is closed at once has been there too.
                        *place = Slow::open(n % 4, server, &connector).ok();
                        opened.fetch_add(1, Ordering::Relaxed);
                    }
                }
                may_come = COME_BACK;
                open.store(crowd.iter().flatten().count(), Ordering::Relaxed);
                // One byte a second from each.
                std::thread::sleep(Duration::from_secs(1).saturating_sub(began.elapsed()));
            }
        });
        Self {
            stop,
            open,
            opened,
            holder: Some(holder),
        }
    }

    /// How many were open at the end of the last round; none before the end of the first.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many have been opened so far.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Drop for SlowCrowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(holder) = self.holder.take() {
            holder.join().ok();
        }
    }
}

impl Slow {
    fn open(kind: usize, server: SocketAddr, connector: &TlsConnector) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        Ok(match kind {
            0 => Self::Idle(quick(stream)?),
            1 => {
                let mut hello = Vec::new();
                client(connector)?.write_tls(&mut hello)?;
                let mut stream = stream;
                stream.write_all(&hello[..hello.len() / 2])?;
                Self::HalfShaken(quick(stream)?)
            }
            2 => {
                let mut tls = shaken(connector, stream)?;
                tls.write_all(frames::PREFACE)?;
                tls.write_all(&frames::frame(frames::SETTINGS, 0, 0, &[]))?;
                let head = frames::call("/millrace.ingest.v1.Ingest/Publish", &[]);
                let mut rest = frames::frame(frames::HEADERS, frames::END_HEADERS, 1, &head);
                rest.reverse();
                Self::Trickling(quick_tls(tls)?, rest)
            }
            _ => {
                let mut tls = shaken(connector, stream)?;
                tls.write_all(frames::PREFACE)?;
                tls.write_all(&frames::settings_without_window())?;
                let head = frames::call("/millrace.ingest.v1.Ingest/PublishStream", &[]);
                tls.write_all(&frames::frame(
                    frames::HEADERS,
                    frames::END_HEADERS,
                    1,
                    &head,
                ))?;
                Self::Windowless(quick_tls(tls)?)
            }
        })
    }

    /// Does its one slow thing; false when the server has closed the connection.
    fn goes_on(&mut self) -> bool {
        match self {
            Self::Idle(stream) | Self::HalfShaken(stream) => is_open(stream),
            Self::Trickling(tls, rest) => {
                let sent = match rest.pop() {
                    Some(byte) => tls.write_all(&[byte]).and_then(|()| tls.flush()),
                    None => Ok(()),
                };
                sent.is_ok() && is_open(&mut tls.sock)
            }
            Self::Windowless(tls) => is_open(&mut tls.sock),
        }
    }
}

fn client(connector: &TlsConnector) -> io::Result<ClientConnection> {
    let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    ClientConnection::new(Arc::clone(connector.config()), name).map_err(io::Error::other)
}

fn shaken(connector: &TlsConnector, stream: TcpStream) -> io::Result<Box<Tls>> {
    let mut tls = Box::new(StreamOwned::new(client(connector)?, stream));
    tls.conn.complete_io(&mut tls.sock)?;
    Ok(tls)
}

/// From here on nobody waits for the server.
fn quick(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn quick_tls(mut tls: Box<Tls>) -> io::Result<Box<Tls>> {
    tls.flush()?;
    tls.sock.set_nonblocking(true)?;
    Ok(tls)
}

fn is_open(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4 << 10];
    match stream.read(&mut buffer) {
        Ok(read) => read > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
