//! Reading from the side: without joining a group and without committing anything, so that nobody notices.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};

use super::{QuietContext, client};
use crate::config;

/// librdkafka assigns nothing without the name of a group, even to a client that never joins it.
const NO_GROUP: &str = "millrace-reads-aside";

/// Enough for what a new client has queued up.
const SERVE: Duration = Duration::from_millis(5);

impl ConsumerContext for QuietContext {}

/// Serves what a new client asks for, a token above all: what is asked of it next blocks without serving anything.
/// Nothing is assigned yet, so no record comes.
pub(super) fn served(consumer: &BaseConsumer<QuietContext>) {
    drop(consumer.poll(SERVE));
}

/// The settings of a consumer that leaves no trace on the cluster.
pub(super) fn aside(kafka: &config::Kafka) -> ClientConfig {
    let mut settings = client(kafka);
    settings
        .set("group.id", NO_GROUP)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    // A producer's limit, which a consumer would warn about.
    settings.remove("message.max.bytes");
    settings
}
