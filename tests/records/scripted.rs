//! Answers that a real cluster gives too rarely to wait for, from the cluster that librdkafka carries for tests.

use std::collections::BTreeMap;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

use super::{TIMEOUT, wait_for_metric, wait_for_reason};
use crate::harness::host::{Host, Setup};
use crate::harness::main_flow::guest;
use crate::harness::topic::{Record, Topic};
use crate::harness::wait;

/// Two groups over two topics of one scripted cluster.
struct Scripted {
    cluster: MockCluster<'static, DefaultProducerContext>,
    topics: [Topic; 2],
    dead_letters: Topic,
}

const GROUPS: [&str; 2] = ["one", "two"];

impl Scripted {
    fn new() -> Self {
        let cluster = MockCluster::new(1).expect("it starts");
        for topic in ["source-one", "source-two", "dead"] {
            cluster.create_topic(topic, 1, 1).expect("it is made");
        }
        let brokers = cluster.bootstrap_servers();
        let topic = |name| Topic::named(&brokers, name);
        Self {
            topics: [topic("source-one"), topic("source-two")],
            dead_letters: topic("dead"),
            cluster,
        }
    }

    fn start(&self) -> Host {
        let mut config = format!(
            "kafka:\n  brokers: {}\n  properties: {{ delivery.timeout.ms: 4000, \
             topic.metadata.refresh.interval.ms: 500, retries: 2 }}\nplugins:\n  witness:\n    path: {}\n    \
             grants: [tally, journal, config]\n    journal: {{ path: witness.log }}\n  other:\n    path: {}\n    \
             grants: [tally, journal, config]\n    journal: {{ path: other.log }}\ngroups:\n",
            self.cluster.bootstrap_servers(),
            guest("witness"),
            guest("witness"),
        );
        for ((group, topic), plugin) in GROUPS.iter().zip(&self.topics).zip(["witness", "other"]) {
            config += &format!(
                "  - id: {group}\n    routes: {{ {}: {plugin} }}\n    dead_letter: {{ topic: dead }}\n    \
                 store: store/{group}\n",
                topic.name(),
            );
        }
        Setup::new("", &config).start()
    }

    fn committed(&self, group: usize) -> Option<i64> {
        self.topics[group].committed(GROUPS[group]).get(&0).copied()
    }

    #[track_caller]
    fn wait_for_commit(&self, group: usize, offset: i64) {
        let what = format!("group {} at {offset}", GROUPS[group]);
        wait::eventually_some(&what, TIMEOUT, || match self.committed(group) {
            Some(committed) if committed == offset => Ok(()),
            other => Err(format!("it was at {other:?}")),
        });
    }

    fn dead_offsets(&self) -> BTreeMap<(String, String), usize> {
        let mut places = BTreeMap::new();
        for letter in self.dead_letters.read_all() {
            let of = |name: &str| {
                let value = letter.header(&format!("millrace.dlq.origin.{name}"));
                value.expect("an origin").to_owned()
            };
            *places.entry((of("topic"), of("offset"))).or_default() += 1;
        }
        places
    }
}

#[test]
fn a_dead_letter_topic_that_may_not_be_written_is_waited_for_with_its_reason() {
    let scripted = Scripted::new();
    let host = scripted.start();
    scripted
        .cluster
        .topic_error("dead", Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        .expect("the topic exists");
    scripted.topics[0].produce(&[
        Record::new("a", "{}"),
        Record::new("a", "bad"),
        Record::new("a", "{}"),
    ]);
    scripted.topics[1].produce(&[Record::new("a", "{}")]);

    wait_for_reason(&host, &["group one", "dead", "uthoriz"]);
    wait_for_metric(&host, "millrace_refused_records", "one", |n| n == 1.0);
    scripted.wait_for_commit(1, 1);
    assert!(
        scripted.committed(0).is_none_or(|at| at <= 1),
        "not past it"
    );
    scripted
        .cluster
        .topic_error("dead", Code::RD_KAFKA_RESP_ERR_NO_ERROR)
        .expect("the topic exists");
    scripted.wait_for_commit(0, 3);

    host.metrics().assert_ledger_balanced("one");
    wait_for_metric(&host, "millrace_refused_records", "one", |n| n == 0.0);
    host.sigterm().expect_code(0);
    let once = [(("source-one".to_owned(), "1".to_owned()), 1)];
    assert_eq!(scripted.dead_offsets(), BTreeMap::from(once));
}

#[test]
fn a_dead_letter_that_too_few_replicas_take_is_sent_again_until_they_do() {
    let scripted = Scripted::new();
    scripted.topics[0].produce(&[
        Record::new("a", "bad"),
        Record::new("b", "bad"),
        Record::new("c", "{}"),
    ]);
    // More refusals than the client makes of itself before it gives the record back.
    let refusal = [Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 60];
    scripted.cluster.request_errors(Api::Produce, &refusal);
    let host = scripted.start();
    wait_for_reason(&host, &["group one", "dead"]);
    wait_for_metric(&host, "millrace_refused_records", "one", |n| n >= 1.0);
    assert!(
        scripted.committed(0).is_none(),
        "nothing is committed past it"
    );
    scripted.cluster.clear_request_errors(Api::Produce);
    scripted.wait_for_commit(0, 3);

    host.metrics().assert_ledger_balanced("one");
    host.sigterm().expect_code(0);
    assert_eq!(scripted.dead_offsets().len(), 2);
}

#[test]
fn commits_that_a_coordinator_cannot_take_now_are_made_later() {
    let scripted = Scripted::new();
    let host = scripted.start();
    scripted.topics[0].produce(&[Record::new("a", "{}")]);
    scripted.wait_for_commit(0, 1);
    for code in [
        Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Code::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
    ] {
        let before = scripted.committed(0).expect("it has committed");
        scripted
            .cluster
            .request_errors(Api::OffsetCommit, &[code; 4]);
        scripted.topics[0].produce(&[Record::new("a", "{}"), Record::new("b", "{}")]);
        scripted.wait_for_commit(0, before + 2);
        scripted.cluster.clear_request_errors(Api::OffsetCommit);
    }
    host.metrics().assert_ledger_balanced("one");
    let exit = host.sigterm().expect_code(0);
    let all = crate::harness::main_flow::summary(&exit, "one");
    assert_eq!(
        all["polled"],
        all["processed"] + all["recovered"] + all["abandoned"],
        "{all:?}"
    );
    assert!(all["processed"] >= 11);
}

#[test]
fn a_group_that_loses_its_rights_stops_with_the_reason_and_the_other_goes_on() {
    let scripted = Scripted::new();
    let host = scripted.start();
    scripted.topics[0].produce(&[Record::new("a", "{}")]);
    scripted.wait_for_commit(0, 1);
    scripted
        .cluster
        .topic_error(
            "source-one",
            Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        )
        .expect("the topic exists");

    let (status, _) = wait_for_reason(&host, &["group one: stopped", "uthoriz"]);
    assert_eq!(status, 503);
    scripted.topics[1].produce(&[Record::new("a", "{}")]);
    scripted.wait_for_commit(1, 1);
    let (_, health) = host.get("/readyz?verbose").expect("it is served");
    assert!(health.contains("group two: joined\n"), "{health}");
}
