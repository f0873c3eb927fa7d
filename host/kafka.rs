//! Everything that speaks to Kafka, and the only user of rdkafka.
//!
//! This file holds what all clients share: their base settings, their errors, and where librdkafka's
//! log goes. It must not know plugins, lanes or what events mean.

mod aside;
pub mod consumer;
mod coordinator;
pub mod embedded;
pub mod group_offsets;
mod known_topics;
mod outgoing;
pub(crate) mod partitioner;
mod produce_call;
pub mod producer;
pub mod publisher;
pub mod reader;
pub mod rights;
mod security;
pub mod tail;
mod tokens;
pub mod topics;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};

use self::tokens::Keeper;
use crate::config;

/// What can go wrong between the host and a Kafka cluster.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// librdkafka refused a property.
    #[error("Kafka settings are not accepted: {0}; check kafka.brokers and kafka.properties")]
    Settings(#[source] ClientError),
    /// Nobody answered.
    #[error(
        "no Kafka broker answered at {brokers} within {waited:?}{}; check that the address is right, \
         that the broker runs, and that this machine may connect to it",
        reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
    )]
    Unreachable {
        /// `bootstrap.servers` as configured.
        brokers: String,
        /// How long an answer was waited for.
        waited: Duration,
        /// The last thing librdkafka said about it.
        reason: Option<String>,
    },
    /// The two sides do not trust each other's certificates, or one of them speaks no TLS.
    #[error(
        "no encrypted connection to the Kafka brokers at {brokers}: {reason}; check that kafka.tls.ca signed the broker's \
         certificate, that its time is not over, and that it names the broker as kafka.brokers does; that kafka.tls.cert \
         is one that the broker takes, where it asks for one; and that this listener of it is encrypted"
    )]
    NotTrusted {
        /// `bootstrap.servers` as configured.
        brokers: String,
        /// What was wrong.
        reason: String,
    },
    /// The brokers do not believe who the host is.
    #[error(
        "the Kafka brokers at {brokers} refuse the login of this host: {reason}; check kafka.sasl"
    )]
    NotLoggedIn {
        /// `bootstrap.servers` as configured.
        brokers: String,
        /// What they said.
        reason: String,
    },
    /// There is no token to log in with.
    #[error("there is no token to log in to Kafka with: {0}; check kafka.sasl.token")]
    Token(String),
    /// The topic is there already.
    #[error("topic {0} exists already")]
    TopicExists(String),
    /// The name cannot be a topic.
    #[error(
        "{0:?} cannot be a topic: a name has 1 to 249 characters of a-z, A-Z, 0-9, '.', '_' and '-', \
         and is not '.' or '..'"
    )]
    TopicName(String),
    /// The cluster answered, and refused.
    #[error("the Kafka cluster did not {action}: {reason}")]
    Refused {
        /// What was asked, such as `create topic orders`.
        action: String,
        /// The cluster's answer.
        reason: String,
    },
    /// Events were still unacknowledged when the time was over.
    #[error("{events} events were still not acknowledged after {waited:?}")]
    NotFlushed {
        /// How many.
        events: usize,
        /// How long.
        waited: Duration,
    },
    /// Anything else of the client.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Pairs of names that mean the same property. librdkafka takes properties in no fixed order, so a
/// default under one name could beat what the operator wrote under the other.
const ALIASES: [(&str, &str); 7] = [
    ("bootstrap.servers", "metadata.broker.list"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("acks", "request.required.acks"),
    ("compression.type", "compression.codec"),
    ("max.in.flight.requests.per.connection", "max.in.flight"),
    ("retries", "message.send.max.retries"),
];

/// Settings that every client of the host starts from, the operator's properties included.
#[must_use]
pub fn client(kafka: &config::Kafka) -> ClientConfig {
    client_with_defaults(kafka, &[])
}

/// [`client`] with further defaults, which the operator's properties win over. What must not be
/// overridden is set on the result.
#[must_use]
pub fn client_with_defaults(kafka: &config::Kafka, defaults: &[(&str, &str)]) -> ClientConfig {
    let mut settings = ClientConfig::new();
    // rdkafka would derive the level from the `log` crate, which the host does not use.
    settings.set_log_level(RDKafkaLogLevel::Info);
    let base = [
        ("client.id", "millrace"),
        // Brokers close idle connections every ten minutes; that is not news.
        ("log.connection.close", "false"),
        ("socket.keepalive.enable", "true"),
        // The default of 10 s delays recovery by that much after an outage.
        ("reconnect.backoff.max.ms", "2000"),
    ];
    for (name, value) in base.iter().chain(defaults) {
        if !is_set(kafka, name) {
            settings.set(*name, *value);
        }
    }
    for (name, value) in &kafka.properties {
        settings.set(name, value);
    }
    settings.remove("metadata.broker.list");
    settings.set("bootstrap.servers", &kafka.brokers);
    settings.set("message.max.bytes", kafka.message_max_bytes.to_string());
    // A misspelt topic must be an error, not a new topic.
    settings.set("allow.auto.create.topics", "false");
    security::apply(kafka, &mut settings);
    settings
}

fn is_set(kafka: &config::Kafka, name: &str) -> bool {
    let has = |name: &str| kafka.properties.contains_key(name);
    has(name)
        || ALIASES
            .iter()
            .any(|(one, other)| (*one == name && has(other)) || (*other == name && has(one)))
}

/// Whether Kafka accepts this as the name of a topic.
#[must_use]
pub fn is_topic_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Passes a line of librdkafka's log on, one step quieter than it was meant: the library retries
/// whatever it complains about, and the host reports what it could not do.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Error => tracing::warn!(target: "librdkafka", facility, "{message}"),
        _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// Passes a global error of a client on. Connections that fail are in the log already, and "all
/// brokers down" comes hundreds of times a second while they do, so only what stops the client for
/// good, or what no retry can heal, is loud.
pub fn log_error(error: &ClientError, reason: &str) {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::Fatal) => tracing::error!(target: "librdkafka", %error, "{reason}"),
        Some(RDKafkaErrorCode::Authentication) => {
            tracing::warn!(target: "librdkafka", %error, "{reason}");
        }
        _ => tracing::debug!(target: "librdkafka", %error, "{reason}"),
    }
}

/// A context for clients that need nothing but the log and a token to log in with.
#[derive(Debug, Clone)]
pub struct QuietContext {
    tokens: Option<Arc<Keeper>>,
}

impl QuietContext {
    /// The context of a client of this cluster.
    ///
    /// # Errors
    /// [`KafkaError::Token`] when there is no token to log in with.
    pub fn new(kafka: &config::Kafka) -> Result<Self, KafkaError> {
        let tokens = Keeper::of(kafka)?;
        Ok(Self { tokens })
    }
}

impl ClientContext for QuietContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        tokens::current(self.tokens.as_ref())
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        log_error(&error, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(properties: &[(&str, &str)]) -> config::Kafka {
        let properties = properties.iter();
        config::Kafka {
            properties: properties
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
            ..config::Kafka::at("one:9092")
        }
    }

    #[test]
    fn a_property_of_the_operator_wins_over_a_default_under_either_of_its_names() {
        let written = kafka(&[("queue.buffering.max.ms", "50")]);
        let settings = client_with_defaults(&written, &[("linger.ms", "2"), ("acks", "all")]);
        assert_eq!(settings.get("queue.buffering.max.ms"), Some("50"));
        assert_eq!(settings.get("linger.ms"), None);
        assert_eq!(settings.get("acks"), Some("all"));
    }

    #[test]
    fn the_brokers_and_the_ban_on_new_topics_cannot_be_overridden() {
        let written = kafka(&[
            ("metadata.broker.list", "other:9092"),
            ("allow.auto.create.topics", "true"),
        ]);
        let settings = client(&written);
        assert_eq!(settings.get("bootstrap.servers"), Some("one:9092"));
        assert_eq!(settings.get("metadata.broker.list"), None);
        assert_eq!(settings.get("allow.auto.create.topics"), Some("false"));
    }

    #[test]
    fn topic_names_follow_the_rule_of_kafka() {
        assert!(is_topic_name("user-events_v1.dlq"));
        for bad in ["", ".", "..", "a b", "a/b", "naïve", &"x".repeat(250)] {
            assert!(!is_topic_name(bad), "{bad:?}");
        }
    }
}
