//! What operators do to topics while hosts run: delete, make anew, shorten, widen, reconfigure.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};

use super::topic::Topic;
use super::wait;

const TIMEOUT: Duration = Duration::from_secs(30);

fn ask<T>(
    topic: &Topic,
    question: impl AsyncFnOnce(AdminClient<DefaultClientContext>, AdminOptions) -> T,
) -> T {
    let admin = ClientConfig::new()
        .set("bootstrap.servers", topic.brokers())
        .create()
        .expect("an admin client can be made");
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be made")
        .block_on(question(admin, options))
}

/// Deletes the topic, and waits until the broker does not know it any more.
#[track_caller]
pub(crate) fn delete(topic: &Topic) {
    let deleted = ask(topic, async |admin, options| {
        admin.delete_topics(&[topic.name()], &options).await
    });
    deleted.expect("the broker answers")[0]
        .as_ref()
        .expect("it was deleted");
    wait::eventually("the topic gone", TIMEOUT, || !topic.exists());
}

/// Deletes the records of partition 0 below this offset, as retention does.
#[track_caller]
pub(crate) fn delete_records_before(topic: &Topic, offset: i64) {
    let mut until = TopicPartitionList::new();
    until
        .add_partition_offset(topic.name(), 0, Offset::Offset(offset))
        .expect("the offset is valid");
    let deleted = ask(topic, async |admin, options| {
        admin.delete_records(&until, &options).await
    });
    for element in deleted.expect("the broker answers").elements() {
        element.error().expect("they were deleted");
    }
}

/// Gives the topic this many partitions.
#[track_caller]
pub(crate) fn widen(topic: &Topic, partitions: usize) {
    let widened = ask(topic, async |admin, options| {
        let new = NewPartitions::new(topic.name(), partitions);
        admin.create_partitions([&new], &options).await
    });
    widened.expect("the broker answers")[0]
        .as_ref()
        .expect("it was widened");
}

/// Changes one setting; the others go back to their defaults.
#[track_caller]
pub(crate) fn configure(topic: &Topic, setting: &str, value: &str) {
    let altered = ask(topic, async |admin, options| {
        let config = AlterConfig::new(ResourceSpecifier::Topic(topic.name())).set(setting, value);
        admin.alter_configs([&config], &options).await
    });
    altered.expect("the broker answers")[0]
        .as_ref()
        .expect("it was changed");
}
