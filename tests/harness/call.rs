//! One gRPC call as bytes, for what a generated client would not send. It knows HTTP/2 and nothing of the host.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tonic::Code;

/// How a call was answered.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) code: Code,
    /// The head of the answer, and its trailers.
    pub(crate) headers: HeaderMap,
}

/// A message that is not compressed.
pub(crate) fn plain(message: &impl Message) -> Bytes {
    let body = message.encode_to_vec();
    framed(false, body.len(), &body)
}

/// A message that says that it is so long, whatever comes.
pub(crate) fn framed(is_compressed: bool, says: usize, body: &[u8]) -> Bytes {
    let mut message = BytesMut::from(&[u8::from(is_compressed)][..]);
    message.extend(u32::try_from(says).expect("it fits").to_be_bytes());
    message.extend(body);
    message.freeze()
}

/// Calls `method` of the ingest service over a connection of its own.
pub(crate) async fn call(
    gateway: SocketAddr,
    method: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Called {
    let stream = TcpStream::connect(gateway).await.expect("it listens");
    let io = TokioIo::new(stream);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, connection) = handshake.await.expect("it speaks HTTP/2");
    let connection = tokio::spawn(connection);
    let uri = format!("http://{gateway}/millrace.ingest.v1.Ingest/{method}");
    let mut request = Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).expect("it is sound");
    let answer = sender.send_request(request).await.expect("it is answered");
    let (head, body) = answer.into_parts();
    let mut headers = head.headers;
    let trailers = body.collect().await.ok();
    headers.extend(
        trailers
            .and_then(|body| body.trailers().cloned())
            .unwrap_or_default(),
    );
    connection.abort();
    let status = headers.get("grpc-status").expect("there is a status");
    Called {
        code: Code::from_bytes(status.as_bytes()),
        headers,
    }
}
