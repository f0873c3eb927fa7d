//! The words of `plugins.NAME.grants`.

use std::collections::BTreeSet;

use super::field::{Field, is_topic, not_a_topic};
use super::section::{Context, suggest};
use crate::config::{Grants, Network, WebTarget};

/// Every grant, as it is written.
const GRANTS: [&str; 10] = [
    "logging",
    "config",
    "metrics",
    "state",
    "tally",
    "journal",
    "output:TOPIC",
    "https:HOST",
    "http:HOST",
    "network:ADDRESS/BITS",
];

pub(super) fn read(field: &Field<'_>, context: &mut Context<'_>) -> Grants {
    let mut grants = Grants::default();
    let mut seen = BTreeSet::new();
    for item in field.items(context) {
        let Some(text) = item.text(context) else {
            continue;
        };
        if !seen.insert(text) {
            item.problem(context, format!("`{text}` is granted twice: keep one"));
            continue;
        }
        if let Err(message) = add(&mut grants, text) {
            item.problem(context, message);
        }
    }
    if grants.web.is_empty() && !grants.networks.is_empty() {
        field.problem(
            context,
            "a network is granted and no host in it: add for example `https:api.internal`",
        );
    }
    grants
}

/// Grants what one word says.
///
/// # Errors
/// Says why it is no grant, and what may be meant.
pub fn add(grants: &mut Grants, text: &str) -> Result<(), String> {
    match text {
        "logging" => grants.logging = true,
        "config" => grants.config = true,
        "metrics" => grants.metrics = true,
        "state" => grants.state = true,
        "tally" => grants.tally = true,
        "journal" => grants.journal = true,
        _ => match text.split_once(':') {
            Some(("output", topic)) if is_topic(topic) => {
                grants.output_topics.push(topic.to_owned());
            }
            Some(("output", topic)) => return Err(not_a_topic(topic)),
            Some(("https", host)) => grants.web.push(WebTarget::parse(true, host)?),
            Some(("http", host)) => grants.web.push(WebTarget::parse(false, host)?),
            Some(("network", network)) => grants.networks.push(Network::parse(network)?),
            _ => {
                let advice = suggest(text, GRANTS.into_iter()).map_or_else(
                    || format!("write one of {}", GRANTS.join(", ")),
                    |known| format!("did you mean `{known}`?"),
                );
                return Err(format!("there is no grant `{text}`: {advice}"));
            }
        },
    }
    Ok(())
}
