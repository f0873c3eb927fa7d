//! Requests to the admin server of a running host. It must not know what is asked for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
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

/// Larger than the answers about a thousand plugins and a hundred thousand partitions.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Larger than the head of any answer of a host.
const HEAD_BYTES_MAX: u64 = 16 << 10;

/// A host that answers line by line says something every five seconds.
const SILENCE_MAX: Duration = Duration::from_secs(20);

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
        let (admin, token) = self.where_and_what()?;
        let exchange = || {
            let mut answer = String::new();
            let stream = self.send(admin, token.as_ref(), method, path, ANSWER_TIMEOUT)?;
            stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = exchange().map_err(|error| nobody(admin, error))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        understood(admin, status(head), body)
    }

    /// Asks, and gives each line of the answer away as it comes, until it ends or `each` says that it is enough.
    ///
    /// # Errors
    /// As [`Self::ask`]; or the host says nothing any more, or `each` fails.
    pub(super) fn follow(
        &self,
        path: &str,
        mut each: impl FnMut(&str) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        let (admin, token) = self.where_and_what()?;
        let sent = self.send(admin, token.as_ref(), "GET", path, SILENCE_MAX);
        let mut answer = BufReader::new(sent.map_err(|error| nobody(admin, error))?);
        let head = head_of(&mut answer).map_err(|error| nobody(admin, error))?;
        if status(&head) != "200" {
            let mut body = String::new();
            answer.take(ANSWER_BYTES_MAX).read_to_string(&mut body)?;
            return understood(admin, status(&head), &body).map(drop);
        }
        let mut line = String::new();
        loop {
            line.clear();
            let read = (&mut answer).take(ANSWER_BYTES_MAX).read_line(&mut line);
            if read.with_context(|| format!("the host at {admin} says nothing any more"))? == 0 {
                return Ok(());
            }
            let said = line.trim_end();
            if !said.is_empty() && each(said)?.is_break() {
                return Ok(());
            }
        }
    }

    /// Where the server is, and the token.
    fn where_and_what(&self) -> anyhow::Result<(SocketAddr, Option<Secret>)> {
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
        Ok((self.admin.or(configured).unwrap_or(default), token))
    }

    /// Sends a request. Whoever answers may be silent for so long.
    fn send(
        &self,
        admin: SocketAddr,
        token: Option<&Secret>,
        method: &str,
        path: &str,
        silence_max: Duration,
    ) -> std::io::Result<Box<dyn ReadWrite>> {
        let authorization = token.map_or_else(String::new, |token| {
            format!("Authorization: Bearer {}\r\n", token.reveal())
        });
        // HTTP/1.0 ends the answer with the connection, and knows no chunks.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {admin}\r\n{authorization}Content-Length: 0\r\n\r\n"
        );
        let stream = TcpStream::connect_timeout(&admin, CONNECT_TIMEOUT)?;
        stream.set_read_timeout(Some(silence_max))?;
        let mut stream: Box<dyn ReadWrite> = match &self.admin_ca {
            None => Box::new(stream),
            Some(authorities) => Box::new(tls::client::blocking(stream, admin.ip(), authorities)?),
        };
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        Ok(stream)
    }
}

/// A connection, encrypted or not.
trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

fn nobody(admin: SocketAddr, error: std::io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!(
        "no host answers at {admin}; say where its admin server listens with --admin \
         (`admin.listen` of its configuration), and with --admin-ca where it has `admin.tls`"
    ))
}

/// The head of an answer, up to its empty line.
fn head_of(answer: &mut impl BufRead) -> std::io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut rest = answer.by_ref().take(HEAD_BYTES_MAX);
        if rest.read_line(&mut head)? == 0 || head.len() as u64 >= HEAD_BYTES_MAX {
            break;
        }
    }
    Ok(head)
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

fn understood(admin: SocketAddr, status: &str, body: &str) -> anyhow::Result<Value> {
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
