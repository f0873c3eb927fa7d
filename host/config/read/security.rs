//! The sections `kafka.tls` and `kafka.sasl`.
//!
//! What is wrong is said without repeating what was written, because it may be a secret in the wrong place.

use std::net::IpAddr;
use std::path::PathBuf;

use super::field::Field;
use super::section::Context;
use crate::config::{
    KafkaTls, PasswordMechanism, Sasl, Secret, TlsIdentity, TlsVerify, TokenEndpoint, TokenSource,
};

/// Whether connections are encrypted, as far as the section says it.
pub(super) enum Encryption {
    /// Nothing is said.
    Unsaid,
    /// `off`, in so many words.
    Off,
    On(KafkaTls),
}

pub(super) fn tls(field: &Field<'_>, context: &mut Context<'_>) -> Encryption {
    if field.is_absent() {
        return Encryption::Unsaid;
    }
    if field.says("off") {
        return Encryption::Off;
    }
    let Some(mut section) = field.section(context) else {
        return Encryption::On(KafkaTls::default());
    };
    let ca = existing_file(&section.take("ca"), context);
    let (cert, key) = (section.take("cert"), section.take("key"));
    let key_password = secret(&section.take("key_password"), context);
    if cert.is_absent() != key.is_absent() {
        let (there, missing) = if key.is_absent() {
            ("cert", "key")
        } else {
            ("key", "cert")
        };
        let message = format!(
            "`kafka.tls.{there}` is of no use without `kafka.tls.{missing}`: the host shows a certificate by its \
             private key; write both, or neither"
        );
        context.problem(&field.place, message);
    }
    let (cert, key) = (existing_file(&cert, context), existing_file(&key, context));
    let verify = section.take("verify").choice(
        context,
        TlsVerify::Full,
        &[
            ("full", TlsVerify::Full),
            ("chain", TlsVerify::Chain),
            ("none", TlsVerify::Nothing),
        ],
    );
    section.finish(context);
    let identity = cert.zip(key).map(|(cert, key)| TlsIdentity {
        cert,
        key,
        key_password,
    });
    Encryption::On(KafkaTls {
        ca,
        identity,
        verify,
    })
}

/// How the host logs in, by the words of Kafka.
#[derive(Clone, Copy, PartialEq)]
enum Mechanism {
    Password(PasswordMechanism),
    Bearer,
}

pub(super) fn sasl(field: &Field<'_>, context: &mut Context<'_>) -> Option<Sasl> {
    let mut section = field.section(context)?;
    let mechanism = section.require("mechanism", "SCRAM-SHA-512", context);
    let password = |mechanism| Some(Mechanism::Password(mechanism));
    let mechanism = mechanism.choice(
        context,
        None,
        &[
            ("PLAIN", password(PasswordMechanism::Plain)),
            ("SCRAM-SHA-256", password(PasswordMechanism::ScramSha256)),
            ("SCRAM-SHA-512", password(PasswordMechanism::ScramSha512)),
            ("OAUTHBEARER", Some(Mechanism::Bearer)),
        ],
    );
    let fields = (
        section.take("username"),
        section.take("password"),
        section.take("token"),
    );
    section.finish(context);
    let (username, password, token) = fields;
    // What else there is cannot be judged without it.
    match mechanism? {
        Mechanism::Password(mechanism) => {
            misplaced(&token, "a password", context);
            let name = required(
                &username,
                "with this mechanism the host logs in as a user",
                context,
            );
            let username = name.then(|| username.name(context)).flatten();
            let word = required(
                &password,
                "write `\"${file:/path}\"` or `\"${VARIABLE}\"`",
                context,
            );
            let password = word.then(|| secret(&password, context)).flatten();
            Some(Sasl::Password {
                mechanism,
                username: username?.to_owned(),
                password: password?,
            })
        }
        Mechanism::Bearer => {
            misplaced(&username, "a token", context);
            misplaced(&password, "a token", context);
            let there = required(
                &token,
                "write `token: { file: PATH }`, or `token: { url: URL, client_id: ID, client_secret: .. }`",
                context,
            );
            let token = there.then(|| token_source(&token, context)).flatten();
            token.map(Sasl::Bearer)
        }
    }
}

fn required(field: &Field<'_>, why: &str, context: &mut Context<'_>) -> bool {
    if field.is_absent() {
        context.problem(&field.place, format!("`{}` is missing: {why}", field.path));
    }
    !field.is_absent()
}

fn misplaced(field: &Field<'_>, by: &str, context: &mut Context<'_>) {
    if !field.is_absent() {
        let message = format!(
            "`{}` does not go with this mechanism, which logs in by {by}: remove it, or change \
             `kafka.sasl.mechanism`",
            field.path
        );
        context.problem(&field.place, message);
    }
}

fn token_source(field: &Field<'_>, context: &mut Context<'_>) -> Option<TokenSource> {
    let mut section = field.section(context)?;
    let (file, url) = (section.take("file"), section.take("url"));
    let (client_id, client_secret) = (section.take("client_id"), section.take("client_secret"));
    let scope = section.take("scope");
    section.finish(context);
    if file.is_absent() == url.is_absent() {
        let message = format!(
            "`{}` needs one of `file` and `url`: a file that something else keeps fresh, or the token endpoint of \
             an authorization server",
            field.path
        );
        context.problem(&field.place, message);
        return None;
    }
    if url.is_absent() {
        for field in [&client_id, &client_secret, &scope] {
            if !field.is_absent() {
                let message = format!("`{}` goes with `url` only: remove it", field.path);
                context.problem(&field.place, message);
            }
        }
        return existing_file(&file, context).map(TokenSource::File);
    }
    let why = "an authorization server gives a token to a client that it knows";
    let named = required(&client_id, why, context);
    let proven = required(&client_secret, why, context);
    let client_id = named.then(|| client_id.name(context)).flatten();
    let client_secret = proven.then(|| secret(&client_secret, context)).flatten();
    let scope = scope
        .name(context)
        .map(str::to_owned)
        .filter(|_| !scope.is_absent());
    Some(TokenSource::Endpoint(TokenEndpoint {
        url: endpoint(&url, context)?,
        client_id: client_id?.to_owned(),
        client_secret: client_secret?,
        scope,
    }))
}

/// The address of a token endpoint. The client's secret goes there, so it is encrypted unless it stays on this machine.
fn endpoint(field: &Field<'_>, context: &mut Context<'_>) -> Option<String> {
    let text = field.name(context)?;
    let uri: Option<http::Uri> = text.parse().ok();
    let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
    match uri.as_ref().and_then(http::Uri::scheme_str) {
        Some("https") if !host.is_empty() => Some(text.to_owned()),
        Some("http") if is_loopback(host) => Some(text.to_owned()),
        Some("http") => {
            field.problem(
                context,
                "the client's secret would go there readable by everyone on the way: write an `https:` address",
            );
            None
        }
        _ => {
            field.problem(
                context,
                "this is not the address of a token endpoint: write for example `https://login.example.com/oauth2/token`",
            );
            None
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Whether every broker stands on this machine.
pub(super) fn all_on_loopback(brokers: &str) -> bool {
    brokers.split(',').all(|broker| {
        let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
        is_loopback(host.trim())
    })
}

/// A secret as it is written, never empty.
pub(super) fn secret(field: &Field<'_>, context: &mut Context<'_>) -> Option<Secret> {
    field.name(context).map(Secret::new)
}

/// A file that is there. That it cannot be used shows when it is.
fn existing_file(field: &Field<'_>, context: &mut Context<'_>) -> Option<PathBuf> {
    if field.is_absent() {
        return None;
    }
    let path = field.file_path(context)?;
    match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => {
            field.problem(
                context,
                format!("{} is a folder: name a file", path.display()),
            );
            None
        }
        Ok(_) => Some(path),
        Err(error) => {
            field.problem(
                context,
                format!("{} cannot be read: {error}", path.display()),
            );
            None
        }
    }
}
