//! Reads the body of a request, within limits of size, time and the memory of all requests together.
//!
//! It must not know what the bytes are.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::problem::{Kind, Problem};
use crate::config::units::show_bytes;
use crate::ingest::refusal::Refusal;

/// Memory is counted in steps of this size, because a semaphore counts 32 bits at once.
const STEP_BYTES: usize = 1 << 10;

/// What one read of a compressed body gives at most.
const INFLATED_BYTES: usize = 64 << 10;

/// The limits of bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    /// The largest body, compressed and not.
    pub(super) max_bytes: usize,
    /// How long a body may take to come.
    pub(super) timeout: Duration,
    room: Arc<Semaphore>,
}

/// A body, and its share of the memory.
#[derive(Debug)]
pub(super) struct ReadBody {
    pub(super) bytes: Bytes,
    /// Given back with the body.
    _share: Share,
}

/// The memory that a body holds; it is taken as bytes come, so that a slow client holds what it has sent and no more.
#[derive(Debug)]
struct Share {
    room: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    /// What is left of the last step.
    spare_bytes: usize,
}

impl Bodies {
    /// `memory_bytes` is for the bodies of all requests together.
    pub(super) fn new(max_bytes: usize, timeout: Duration, memory_bytes: usize) -> Self {
        let steps = (memory_bytes / STEP_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            max_bytes,
            timeout,
            room: Arc::new(Semaphore::new(steps)),
        }
    }

    /// Reads all of a body and undoes its compression.
    ///
    /// # Errors
    /// It is too large, too slow, compressed in a way that is not known, or cut off.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<ReadBody, Problem> {
        let is_gzip = is_gzip(headers)?;
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok());
        let announced = announced.and_then(|length| length.parse().ok());
        if announced.is_some_and(|length: u64| length > self.max_bytes as u64) {
            return Err(self.too_large());
        }
        let mut share = Share {
            room: Arc::clone(&self.room),
            permit: None,
            spare_bytes: 0,
        };
        let bytes = self.receive(body, announced, &mut share).await?;
        let bytes = if is_gzip {
            self.inflate(&bytes, &mut share)?
        } else {
            bytes
        };
        Ok(ReadBody {
            bytes,
            _share: share,
        })
    }

    async fn receive(
        &self,
        mut body: Body,
        announced: Option<u64>,
        share: &mut Share,
    ) -> Result<Bytes, Problem> {
        let deadline = Instant::now() + self.timeout;
        let mut all = BytesMut::new();
        loop {
            let frame = match timeout_at(deadline, body.frame()).await {
                Ok(None) => return Ok(all.freeze()),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    return Err(Problem::invalid(format!(
                        "the body was cut off or is malformed: {error}; send it again"
                    )));
                }
                Err(_) => return Err(self.too_slow()),
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if all.len() + data.len() > self.max_bytes {
                return Err(self.too_large());
            }
            share.take(data.len())?;
            if all.is_empty() {
                // Most bodies come in one piece, and are kept as they are.
                if announced == Some(data.len() as u64) {
                    return Ok(data);
                }
                // Large ones come in many; what was announced is only trusted as far as it has come.
                all.reserve(data.len().saturating_mul(2));
            }
            all.extend_from_slice(&data);
        }
    }

    fn inflate(&self, compressed: &[u8], share: &mut Share) -> Result<Bytes, Problem> {
        let mut decoder = MultiGzDecoder::new(compressed);
        let mut all = BytesMut::new();
        let mut piece = vec![0; INFLATED_BYTES];
        loop {
            match decoder.read(&mut piece) {
                Ok(0) => return Ok(all.freeze()),
                Ok(read) if all.len() + read > self.max_bytes => return Err(self.too_large()),
                Ok(read) => {
                    share.take(read)?;
                    all.extend_from_slice(&piece[..read]);
                }
                Err(error) => {
                    return Err(Problem::invalid(format!(
                        "the body is no gzip: {error}; send it again, or uncompressed"
                    )));
                }
            }
        }
    }

    fn too_large(&self) -> Problem {
        let detail = format!(
            "a request has at most {}, compressed and not; send fewer events at once",
            show_bytes(self.max_bytes as u64)
        );
        Problem::new(Kind::TooLarge, detail)
    }

    fn too_slow(&self) -> Problem {
        let detail = format!(
            "the body was not complete after {:?}; send it again, in smaller pieces where the connection is slow",
            self.timeout
        );
        Problem::new(Kind::Timeout, detail).with(header::CONNECTION, "close")
    }
}

impl ReadBody {
    /// Whether its memory is accounted for, which it is while this lives.
    #[cfg(test)]
    fn holds_steps(&self) -> usize {
        self._share
            .permit
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

impl Share {
    fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        if bytes <= self.spare_bytes {
            self.spare_bytes -= bytes;
            return Ok(());
        }
        let steps = (bytes - self.spare_bytes).div_ceil(STEP_BYTES);
        let wanted = u32::try_from(steps).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.room).try_acquire_many_owned(wanted) else {
            return Err(Refusal::Busy("too many large requests at once").into());
        };
        self.spare_bytes += steps * STEP_BYTES - bytes;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(encoding) = encodings.next() else {
        return Ok(false);
    };
    let is = |name: &str| encoding.as_bytes().eq_ignore_ascii_case(name.as_bytes());
    if encodings.next().is_none() {
        if is("gzip") || is("x-gzip") {
            return Ok(true);
        }
        if is("identity") || encoding.is_empty() {
            return Ok(false);
        }
    }
    let detail = "a body is compressed once, with gzip, or not at all";
    Err(Problem::new(Kind::UnsupportedMediaType, detail)
        .with(header::ACCEPT_ENCODING, "gzip, identity"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write;

    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tokio_stream::StreamExt;

    use super::*;

    const MAX: usize = 100_000;

    fn bodies(memory_bytes: usize) -> Bodies {
        Bodies::new(MAX, Duration::from_secs(5), memory_bytes)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn headers(encoding: &'static str) -> HeaderMap {
        let value = HeaderValue::from_static(encoding);
        HeaderMap::from_iter([(header::CONTENT_ENCODING, value)])
    }

    #[tokio::test]
    async fn a_body_comes_whole_whether_compressed_or_in_pieces() {
        let bodies = bodies(MAX * 4);
        let pieces = (0..10).map(|n| Ok::<_, Infallible>(Bytes::from(vec![n; 1_000])));
        let body = Body::from_stream(tokio_stream::iter(pieces));
        let read = bodies.read(&HeaderMap::new(), body).await.unwrap();
        assert_eq!(read.bytes.len(), 10_000);
        assert_eq!(read.holds_steps(), 10, "its memory is counted");
        let body = Body::from(gzip(&[7; 50_000]));
        let inflated = bodies.read(&headers("GZIP"), body).await.unwrap();
        assert_eq!(inflated.bytes, vec![7; 50_000]);
        let plain = bodies
            .read(&headers("identity"), Body::from("x"))
            .await
            .unwrap();
        assert_eq!(plain.bytes, "x");
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_before_it_is_held() {
        let bodies = bodies(MAX * 4);
        let kind = |result: Result<ReadBody, Problem>| result.unwrap_err().kind;
        let none = HeaderMap::new();
        let announced =
            HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from_static("100001"))]);
        assert_eq!(
            kind(bodies.read(&announced, Body::from("x")).await),
            Kind::TooLarge
        );
        assert_eq!(
            kind(bodies.read(&none, Body::from(vec![0; MAX + 1])).await),
            Kind::TooLarge
        );
        let bomb = gzip(&vec![0; 50 << 20]);
        assert!(bomb.len() < MAX, "it looks small");
        assert_eq!(
            kind(bodies.read(&headers("gzip"), Body::from(bomb)).await),
            Kind::TooLarge
        );
        assert_eq!(
            kind(bodies.read(&headers("gzip"), Body::from("no gzip")).await),
            Kind::Invalid
        );
        assert_eq!(
            kind(bodies.read(&headers("br"), Body::from("x")).await),
            Kind::UnsupportedMediaType
        );
        assert!(
            bodies.read(&none, Body::from(vec![0; MAX])).await.is_ok(),
            "a limit may be reached"
        );
    }

    #[tokio::test]
    async fn bodies_share_their_memory_and_give_it_back() {
        let bodies = bodies(10 * STEP_BYTES);
        let body = || Body::from(vec![0; 6 * STEP_BYTES]);
        let none = HeaderMap::new();
        let first = bodies.read(&none, body()).await.unwrap();
        assert_eq!(
            bodies.read(&none, body()).await.unwrap_err().kind,
            Kind::Overloaded
        );
        drop(first);
        assert!(bodies.read(&none, body()).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_trickles_ends_with_a_time_out() {
        let bodies = Bodies::new(MAX, Duration::from_millis(50), MAX);
        let pieces = tokio_stream::iter(0..).map(|_| Ok::<_, Infallible>(Bytes::from_static(b"x")));
        let slow = Body::from_stream(pieces.throttle(Duration::from_millis(10)));
        let refused = bodies.read(&HeaderMap::new(), slow).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Timeout);
    }
}
