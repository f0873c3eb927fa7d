//! Bodies of requests and answers that end where their limits do.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use wasmtime_wasi_http::Error;

/// The body of a request, cut off with an error past its limit.
pub(super) struct Counted<B> {
    pub(super) body: B,
    pub(super) bytes_left: u64,
    pub(super) bytes_max: u64,
}

impl<B: Body<Data = Bytes, Error = Error> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(bytes) = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref())
        {
            match self.bytes_left.checked_sub(bytes.len() as u64) {
                Some(left) => self.bytes_left = left,
                None => {
                    let error = Error::HttpRequestBodySize(Some(self.bytes_max));
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, within its size and its time.
pub(super) struct Answer {
    body: hyper::body::Incoming,
    bytes_left: u64,
    bytes_max: u64,
    until: Instant,
    /// The longest wait between two pieces.
    between: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Answer {
    pub(super) fn new(
        body: hyper::body::Incoming,
        bytes_max: u64,
        until: Instant,
        between: Duration,
    ) -> Self {
        Self {
            body,
            bytes_left: bytes_max,
            bytes_max,
            until,
            between,
            timer: Box::pin(sleep_until(until.min(Instant::now() + between))),
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            ready!(this.timer.as_mut().poll(context));
            let late = if Instant::now() >= this.until {
                Error::HttpResponseTimeout
            } else {
                Error::ConnectionReadTimeout
            };
            return Poll::Ready(Some(Err(late)));
        };
        let Some(frame) = frame else {
            return Poll::Ready(None);
        };
        let frame = match frame {
            Ok(frame) => frame,
            // The connection ends with the time of the request, and hyper then says only that it ended.
            Err(_) if Instant::now() >= this.until => {
                return Poll::Ready(Some(Err(Error::HttpResponseTimeout)));
            }
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(left) = this.bytes_left.checked_sub(bytes) else {
            let error = Error::HttpResponseBodySize(Some(this.bytes_max));
            return Poll::Ready(Some(Err(error)));
        };
        this.bytes_left = left;
        let next = this.until.min(Instant::now() + this.between);
        this.timer.as_mut().reset(next);
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
