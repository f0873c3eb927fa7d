//! The section `kafka`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::field::Field;
use super::section::Context;
use super::security::{self, Encryption};
use crate::config::Kafka;
use crate::config::finding::Place;
use crate::config::kafka::MESSAGE_MAX_DEFAULT_BYTES;
use crate::config::units::show_duration;

/// librdkafka's default of `session.timeout.ms`.
const SESSION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(45);

const SESSION_TIMEOUT: &str = "session.timeout.ms";

/// Properties that the delivery promise depends on, or that have a key of their own, and why. A
/// trailing `*` stands for any ending.
const RESERVED: [(&str, &str); 16] = [
    ("group.id", "it is the `id` of each group"),
    (
        "enable.auto.commit",
        "offsets are committed after events have settled, never by time",
    ),
    (
        "enable.auto.offset.store",
        "offsets are stored after events have settled",
    ),
    ("auto.offset.reset", "use `start_from` of the group"),
    (
        "enable.idempotence",
        "outputs must not be repeated or reordered by the producer",
    ),
    (
        "acks",
        "an event settles only after all replicas have its outputs",
    ),
    (
        "request.required.acks",
        "an event settles only after all replicas have its outputs",
    ),
    ("isolation.level", "aborted records must not reach a plugin"),
    (
        "max.in.flight*",
        "outputs must not be reordered by the producer",
    ),
    (
        "enable.partition.eof",
        "the end of a partition is tracked by the host",
    ),
    ("bootstrap.servers", "use `kafka.brokers`"),
    ("metadata.broker.list", "use `kafka.brokers`"),
    (
        "group.protocol",
        "partitions must be given up before another host gets them",
    ),
    ("message.max.bytes", "use `kafka.message_max`"),
    ("transactional.id", "transactional delivery is not built"),
    (
        "enable.gapless.guarantee",
        "a lost output must be reported for its event alone",
    ),
];

/// How long the group waits for a silent member, and where that was written.
pub(super) struct SessionTimeout {
    timeout: Duration,
    written: Option<Place>,
}

impl SessionTimeout {
    /// A drain that outlives the session would finish events of a partition that another host has.
    pub(super) fn check_drain(
        &self,
        field: &Field<'_>,
        drain: Duration,
        context: &mut Context<'_>,
    ) {
        if drain < self.timeout {
            return;
        }
        let place = match (&self.written, field.is_absent()) {
            (Some(written), true) => written,
            _ => field.value_place(),
        };
        let message = format!(
            "`drain_timeout` is {} but must be below {SESSION_TIMEOUT}, which is {}: lower the one, or \
             raise the other in `kafka.properties`",
            show_duration(drain),
            show_duration(self.timeout)
        );
        context.problem(place, message);
    }
}

pub(super) fn read(field: &Field<'_>, context: &mut Context<'_>) -> (Kafka, SessionTimeout) {
    let mut kafka = Kafka::at("");
    let mut session = SessionTimeout {
        timeout: SESSION_TIMEOUT_DEFAULT,
        written: None,
    };
    let mut brokers_written = false;
    if let Some(mut section) = field.section(context) {
        let brokers = section.take("brokers");
        brokers_written = !brokers.is_absent();
        if brokers_written {
            kafka.brokers = read_brokers(&brokers, context).unwrap_or_default();
        }
        kafka.properties = properties(&section.take("properties"), &mut session, context);
        kafka.message_max_bytes = section.take("message_max").memory_bytes(
            context,
            MESSAGE_MAX_DEFAULT_BYTES,
            // What librdkafka takes, less what would leave no room for the headers of a dead letter.
            16 * 1024..=1_000_000_000,
        );
        secure(
            &mut kafka,
            (&section.take("tls"), &section.take("sasl")),
            context,
        );
        section.finish(context);
    }
    if !brokers_written && kafka.brokers.is_empty() {
        context.problem(
            &field.place,
            "`kafka.brokers` is missing: write for example `brokers: localhost:9092`, or set the \
             variable KAFKA_BOOTSTRAP_SERVERS",
        );
    }
    (kafka, session)
}

/// Reads how connections are secured. It is said in one place: here, or in `properties`.
fn secure(kafka: &mut Kafka, (tls, sasl): (&Field<'_>, &Field<'_>), context: &mut Context<'_>) {
    let encryption = security::tls(tls, context);
    kafka.sasl = security::sasl(sasl, context);
    let doubled = |prefix: &str| {
        kafka
            .properties
            .keys()
            .find(|name| name.starts_with(prefix) || *name == "security.protocol")
    };
    for (field, prefix) in [(tls, "ssl."), (sasl, "sasl.")] {
        if let Some(name) = doubled(prefix).filter(|_| !field.is_absent()) {
            let message = format!(
                "`{}` and `kafka.properties.{name}` say the same thing twice: remove the property",
                field.path
            );
            context.problem(&field.place, message);
        }
    }
    let readable = matches!(encryption, Encryption::Unsaid)
        && !sasl.is_absent()
        && !kafka.properties.contains_key("security.protocol")
        && !security::all_on_loopback(&kafka.brokers);
    if readable {
        context.problem(
            &sasl.place,
            "`kafka.sasl` without `kafka.tls` logs in over connections that everyone on the way can read: write \
             `tls: {}` beside it to encrypt them, or `tls: off` where the network is trusted",
        );
    }
    if let Encryption::On(tls) = encryption {
        kafka.tls = Some(tls);
    }
}

fn read_brokers(field: &Field<'_>, context: &mut Context<'_>) -> Option<String> {
    let text = field.name(context)?;
    let brokers: Vec<&str> = text.split(',').map(str::trim).collect();
    if brokers
        .iter()
        .any(|broker| broker.is_empty() || broker.contains(char::is_whitespace))
    {
        let message = format!("`{text}` is not a list of brokers: write `host:9092,other:9092`");
        field.problem(context, message);
        return None;
    }
    Some(brokers.join(","))
}

fn properties(
    field: &Field<'_>,
    session: &mut SessionTimeout,
    context: &mut Context<'_>,
) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    for (name, value) in field.entries(context) {
        if let Some((_, why)) = RESERVED
            .iter()
            .find(|(reserved, _)| is_reserved(name, reserved))
        {
            let message = format!("`{}` cannot be set: {why}", value.path);
            context.problem(&value.place, message);
            continue;
        }
        let Some(text) = value.text(context) else {
            continue;
        };
        if name == SESSION_TIMEOUT {
            match text.trim().parse() {
                Ok(timeout_ms) => {
                    session.timeout = Duration::from_millis(timeout_ms);
                    session.written = Some(value.value_place().clone());
                }
                Err(_) => {
                    let message = format!(
                        "`{text}` is not a number of milliseconds: write for example `45000`"
                    );
                    value.problem(context, message);
                }
            }
        }
        properties.insert(name.to_owned(), text.to_owned());
    }
    properties
}

fn is_reserved(name: &str, reserved: &str) -> bool {
    match reserved.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == reserved,
    }
}
