//! One request to the admin server of a running host. It must not know what is asked for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use crate::cli::run::ConfigArgs;
use crate::config::{self, Secret};
use crate::tls;

/// A host on the same machine takes a connection at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A version may have to be compiled first, which takes up to a minute, behind another one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);

/// Larger than the answer about a thousand plugins.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// The same variable that gives a running host its token.
const TOKEN_VARIABLE: &str = "MILLRACE__ADMIN__TOKEN";

/// Where the admin server is, and what it wants to see. The token is never an argument, which others could read.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// Where the host's admin server listens [default: 127.0.0.1:9464, or what --config says].
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// The configuration of that host: its admin address and its token. Without it, the token is taken from the
    /// variable MILLRACE__ADMIN__TOKEN.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Speaks TLS, and trusts the authorities in this PEM file.
    #[arg(long, value_name = "FILE")]
    admin_ca: Option<PathBuf>,
}

impl Server {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Nobody answers there, or the host refuses, with its reason; the configuration cannot be read.
    pub(super) fn ask(&self, method: &str, path: &str) -> anyhow::Result<Value> {
        let (configured, token) = match &self.config {
            Some(file) => {
                let sets = Vec::new();
                let config = file.clone();
                let admin = ConfigArgs { config, sets }.load()?.admin;
                (Some(admin.listen), admin.token)
            }
            None => {
                let mut environment = config::process_environment();
                let token = environment.find(|(name, _)| name == TOKEN_VARIABLE);
                (None, token.map(|(_, token)| Secret::new(token)))
            }
        };
        let default = SocketAddr::from(([127, 0, 0, 1], 9464));
        let admin = self.admin.or(configured).unwrap_or(default);
        self.exchange(admin, token.as_ref(), method, path)
    }

    fn exchange(
        &self,
        admin: SocketAddr,
        token: Option<&Secret>,
        method: &str,
        path: &str,
    ) -> anyhow::Result<Value> {
        let authorization = token.map_or_else(String::new, |token| {
            format!("Authorization: Bearer {}\r\n", token.reveal())
        });
        // HTTP/1.0 ends the answer with the connection, and knows no chunks.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {admin}\r\n{authorization}Content-Length: 0\r\n\r\n"
        );
        let exchange = || {
            let stream = TcpStream::connect_timeout(&admin, CONNECT_TIMEOUT)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            match &self.admin_ca {
                None => answer_of(stream, &request),
                Some(authorities) => answer_of(
                    tls::client::blocking(stream, admin.ip(), authorities)?,
                    &request,
                ),
            }
        };
        let answer = exchange().with_context(|| {
            format!(
                "no host answers at {admin}; say where its admin server listens with --admin \
                 (`admin.listen` of its configuration), and with --admin-ca where it has `admin.tls`"
            )
        })?;
        understood(admin, &answer)
    }
}

fn answer_of(mut stream: impl Read + Write, request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

fn understood(admin: SocketAddr, answer: &str) -> anyhow::Result<Value> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
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
