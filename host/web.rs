//! One exchange with a web server, over a connection of its own. It must not know what is asked, nor how long anybody
//! waits for it.

use http::header::{HOST, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Connects to the server that an address names. Nothing is encrypted yet.
///
/// # Errors
/// It is not reached.
pub(crate) async fn connect(to: &Uri) -> std::io::Result<TcpStream> {
    let encrypted = to.scheme() == Some(&Scheme::HTTPS);
    let port = to.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let name = to.host().unwrap_or_default();
    let name = name.trim_start_matches('[').trim_end_matches(']');
    TcpStream::connect((name, port)).await
}

/// Sends one request, and returns when the head of its answer is there.
///
/// # Errors
/// The connection broke, or what came is no HTTP.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Bytes>,
) -> Result<Response<Incoming>, hyper::Error> {
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    // It ends with the answer's body, and what goes wrong is told there.
    tokio::spawn(connection);
    let (mut head, body) = request.into_parts();
    if let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.insert(HOST, host);
    }
    let agent = concat!("millrace/", env!("CARGO_PKG_VERSION"));
    head.headers
        .insert(USER_AGENT, HeaderValue::from_static(agent));
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse().unwrap_or_default();
    sender
        .send_request(Request::from_parts(head, Full::new(body)))
        .await
}
