//! One request to the admin server of a running host. It must not know what is asked for.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// A host on the same machine takes a connection at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A version may have to be compiled first, which takes up to a minute, behind another one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);

/// Larger than the answer about a thousand plugins.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Asks, and waits for the answer.
///
/// # Errors
/// Nobody answers there, or the host refuses, with its reason.
pub(super) fn ask(admin: SocketAddr, method: &str, path: &str) -> anyhow::Result<Value> {
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&admin, CONNECT_TIMEOUT)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        // HTTP/1.0 ends the answer with the connection, and knows no chunks.
        let request =
            format!("{method} {path} HTTP/1.0\r\nHost: {admin}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    let answer = exchange().with_context(|| {
        format!(
            "no host answers at {admin}; say where its admin server listens with --admin \
             (`admin.listen` of its configuration)"
        )
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    let said: Value = serde_json::from_str(body).with_context(|| {
        format!("{admin} is no admin server of this version of millrace: it answered {status}")
    })?;
    if status != "200" {
        bail!(
            "{}",
            said["error"]
                .as_str()
                .unwrap_or("refused, without a reason")
        );
    }
    Ok(said)
}
