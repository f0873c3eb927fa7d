//! What a client still sends of a request that has its answer already.
//!
//! A stream of HTTP/2 whose request is not read to its end is reset after the answer, and clients such as curl up to
//! version 8 throw the answer away then. So a small rest is read, and thrown away here. This must not know what is
//! asked for.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;

/// The rest of a request that is worth reading: an event or two.
const REST_MAX_BYTES: usize = 64 << 10;

/// How long a client may take for it. It is on its way when the answer is.
const REST_TIMEOUT: Duration = Duration::from_millis(500);

/// The body of a request.
#[derive(Debug)]
pub(super) struct RequestBody(Option<Incoming>);

impl RequestBody {
    pub(super) fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        // After an error nothing more comes either.
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        // There is none only where the host is being torn down.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(REST_TIMEOUT, read_rest(body)));
        }
    }
}

async fn read_rest(mut body: Incoming) {
    let mut rest = 0;
    while let Some(Ok(frame)) = body.frame().await {
        rest += frame.data_ref().map_or(0, Bytes::len);
        if rest > REST_MAX_BYTES {
            return;
        }
    }
}
