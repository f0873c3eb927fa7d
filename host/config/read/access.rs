//! Who may come in, and how: the clients of the gateways, tokens, certificates and limits of connections.

use std::collections::BTreeSet;
use std::time::Duration;

use super::field::{Field, is_topic, not_a_topic};
use super::section::Context;
use crate::config::{Connections, IngestClient, Secret, ServerTls, TopicRight};

/// Shorter ones can be guessed.
const TOKEN_MIN_BYTES: usize = 16;

/// It has to fit into the head of a request.
const TOKEN_MAX_BYTES: usize = 4_096;

/// Each token that is shown is compared with every one that is known, so that the time says nothing.
const CLIENTS_MAX: usize = 1_000;

/// `clients`: a list of names with their tokens and topics.
pub(super) fn clients(field: &Field<'_>, context: &mut Context<'_>) -> Vec<IngestClient> {
    let items = field.items(context);
    if !field.is_absent() && items.is_empty() {
        field.problem(
            context,
            "nobody could publish: name at least one client, or remove it to let everybody",
        );
    }
    if items.len() > CLIENTS_MAX {
        field.problem(context, format!("there are at most {CLIENTS_MAX} clients"));
    }
    let mut names = BTreeSet::new();
    let mut found: Vec<IngestClient> = Vec::new();
    for item in items {
        let Some(mut section) = item.section(context) else {
            continue;
        };
        let name = section.require("name", "billing", context);
        let name_text = name.name(context).unwrap_or_default().to_owned();
        if !name_text.is_empty() && !names.insert(name_text.clone()) {
            name.problem(
                context,
                format!("another client has the name `{name_text}`: give each its own"),
            );
        }
        let token_field = section.require("token", "\"${BILLING_TOKEN}\"", context);
        let token = secret(&token_field, context);
        if let Some(token) = &token
            && let Some(same) = found.iter().find(|client| client.token == *token)
        {
            let message = format!(
                "client `{}` has the same token: give each its own",
                same.name
            );
            token_field.problem(context, message);
        }
        let topics_field = section.require("topics", "[orders, \"orders.*\"]", context);
        let topics = topic_rights(&topics_field, context);
        section.finish(context);
        if let Some(token) = token {
            found.push(IngestClient {
                name: name_text,
                token,
                topics,
            });
        }
    }
    found
}

fn topic_rights(field: &Field<'_>, context: &mut Context<'_>) -> Vec<TopicRight> {
    let items = field.items(context);
    if !field.is_absent() && items.is_empty() {
        field.problem(
            context,
            "the client could publish nothing: name topics, or `\"*\"` for all",
        );
    }
    let mut rights = Vec::new();
    for item in items {
        let Some(text) = item.name(context) else {
            continue;
        };
        // A pattern is a topic's name with stars in it.
        let without_stars = text.replace('*', "");
        if is_topic(text) || (text.contains('*') && fits_a_topic(&without_stars)) {
            rights.push(TopicRight(text.to_owned()));
        } else {
            item.problem(context, not_a_topic(text));
        }
    }
    rights
}

fn fits_a_topic(part: &str) -> bool {
    part.is_empty() || is_topic(part) || matches!(part, "." | "..")
}

/// A token. What is wrong with it is told without showing it.
pub(super) fn secret(field: &Field<'_>, context: &mut Context<'_>) -> Option<Secret> {
    let text = field.text(context)?;
    let problem = if text.len() < TOKEN_MIN_BYTES {
        format!(
            "a token has at least {TOKEN_MIN_BYTES} characters, so that nobody can guess it: make one \
             with `openssl rand -hex 32`"
        )
    } else if text.len() > TOKEN_MAX_BYTES {
        format!("a token has at most {TOKEN_MAX_BYTES} characters")
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "a token is made of visible ASCII characters without spaces: make one with `openssl rand -hex 32`"
            .to_owned()
    } else {
        return Some(Secret::new(text.to_owned()));
    };
    field.problem(context, problem);
    None
}

/// `tls`: the files of certificates. That they are there and fit together is checked when they are read.
pub(super) fn tls(field: &Field<'_>, context: &mut Context<'_>) -> Option<ServerTls> {
    let mut section = field.section(context)?;
    let cert = section
        .require("cert", "tls/tls.crt", context)
        .file_path(context);
    let key = section
        .require("key", "tls/tls.key", context)
        .file_path(context);
    let client_ca = section.take("client_ca");
    let client_ca_path = client_ca.file_path(context);
    section.finish(context);
    if !client_ca.is_absent() && client_ca_path.is_none() {
        return None;
    }
    Some(ServerTls {
        cert: cert?,
        key: key?,
        client_ca: client_ca_path,
    })
}

/// `connections`: how many, and what time they have.
pub(super) fn connections(field: &Field<'_>, context: &mut Context<'_>) -> Connections {
    let mut found = Connections::default();
    let Some(mut section) = field.section(context) else {
        return found;
    };
    found.max = section.take("max").number(context, found.max, 1..=100_000);
    let times = Duration::from_millis(100)..=Duration::from_mins(10);
    let handshake = section.take("handshake_timeout");
    found.handshake_timeout = handshake.duration(context, found.handshake_timeout, times.clone());
    let header = section.take("header_timeout");
    found.header_timeout = header.duration(context, found.header_timeout, times);
    section.finish(context);
    found
}
