//! A token by the client credentials of OAuth 2 (RFC 6749, 4.4): one request to an authorization server. It must not
//! know what the token is for.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::TOKEN_BYTES_MAX;
use crate::config::TokenEndpoint;
use crate::tls;

/// For the whole exchange. The token that is still good lasts longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is shown of a server's own words.
const SAID_CHARS_MAX: usize = 200;

/// What a server granted.
pub(super) struct Granted {
    pub(super) token: String,
    pub(super) lifetime_ms: Option<i64>,
}

/// Asks for a token, and waits for the answer.
pub(super) fn ask(endpoint: &TokenEndpoint) -> Result<Granted, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let answer =
        runtime.block_on(async { tokio::time::timeout(TIMEOUT, exchange(endpoint)).await });
    let failed = |reason: String| format!("{}: {reason}", endpoint.url);
    let (status, body) = answer
        .map_err(|_| failed(format!("no answer within {} s", TIMEOUT.as_secs())))?
        .map_err(failed)?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    match answer["access_token"].as_str() {
        Some(token) if status == 200 => Ok(Granted {
            token: token.to_owned(),
            lifetime_ms: answer["expires_in"]
                .as_i64()
                .map(|seconds| seconds.saturating_mul(1_000)),
        }),
        _ => {
            let said = answer["error_description"]
                .as_str()
                .or(answer["error"].as_str());
            let said = said.unwrap_or("it says no more").chars();
            let said: String = said
                .filter(|c| !c.is_control())
                .take(SAID_CHARS_MAX)
                .collect();
            Err(failed(format!(
                "the server gives no token, status {status}: {said}"
            )))
        }
    }
}

async fn exchange(endpoint: &TokenEndpoint) -> Result<(u16, Bytes), String> {
    let uri: Uri = endpoint
        .url
        .parse()
        .map_err(|_| "it is no address".to_owned())?;
    let encrypted = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default();
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let stream = TcpStream::connect((name, port))
        .await
        .map_err(|error| error.to_string())?;
    if !encrypted {
        return send(stream, &uri, endpoint).await;
    }
    let name = tls::client::server_name(name).map_err(|error| error.to_string())?;
    let stream = tls::client::connector()?.connect(name, stream).await;
    let stream = stream.map_err(|error| {
        let trust = if tls::client::is_about_certificate(&error) {
            "its certificate is not trusted: "
        } else {
            ""
        };
        format!("{trust}{error}")
    })?;
    send(stream, &uri, endpoint).await
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
    endpoint: &TokenEndpoint,
) -> Result<(u16, Bytes), String> {
    let failed = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let connection = tokio::spawn(connection);
    let mut form = "grant_type=client_credentials".to_owned();
    if let Some(scope) = &endpoint.scope {
        form.push_str("&scope=");
        form.push_str(&encoded(scope));
    }
    let (id, secret) = (
        encoded(&endpoint.client_id),
        encoded(endpoint.client_secret.reveal()),
    );
    let request = Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(
            HOST,
            uri.authority().map_or("", |authority| authority.as_str()),
        )
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(
            AUTHORIZATION,
            format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))),
        )
        .body(Full::new(Bytes::from(form)))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(failed)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), TOKEN_BYTES_MAX)
        .collect()
        .await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    connection.abort();
    Ok((status, body))
}

/// A text as a form holds it.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::config::Secret;

    /// Asks a server that answers so; what it was asked, and what came of it.
    fn asked(answer: &'static str) -> (String, Result<Granted, String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = TokenEndpoint {
            url: format!("http://{}/token", listener.local_addr().unwrap()),
            client_id: "me".into(),
            client_secret: Secret::new("s3 cret"),
            scope: Some("kafka write".into()),
        };
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = Vec::new();
            while !String::from_utf8_lossy(&heard).contains("scope=") {
                let mut bytes = [0; 4096];
                let read = stream.read(&mut bytes).unwrap();
                heard.extend_from_slice(&bytes[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(heard).unwrap()
        });
        let granted = ask(&endpoint);
        (server.join().unwrap(), granted)
    }

    #[test]
    fn a_client_shows_its_credentials_and_gets_a_token_with_its_lifetime() {
        let (heard, granted) = asked(
            "HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n{\"access_token\":\"t0k\",\"expires_in\":    3600}",
        );
        let granted = granted.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(
            (granted.token.as_str(), granted.lifetime_ms),
            ("t0k", Some(3_600_000))
        );
        let basic = format!("Basic {}", STANDARD.encode("me:s3%20cret"));
        assert!(heard.contains(&basic), "{heard}");
        assert!(
            heard.ends_with("grant_type=client_credentials&scope=kafka%20write"),
            "{heard}"
        );
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_server_and_without_the_secret() {
        let (_, granted) = asked(
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 26\r\n\r\n{\"error\":\"invalid_client\"}",
        );
        let failure = granted.err().unwrap();
        assert!(failure.contains("status 401: invalid_client"), "{failure}");
        assert!(!failure.contains("s3"), "{failure}");
    }
}
