//! What operators pause waits in its order, is never given up, and goes on when it is resumed; nothing else waits.

mod commands;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::main_flow::guest;
use crate::harness::topic::{Record, Topic, unique};
use crate::harness::wait;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A group that copies a topic of two partitions.
struct Copying {
    source: Topic,
    copies: Topic,
    dead_letters: Topic,
    group: String,
    sent: u64,
}

impl Copying {
    fn new(hint: &str) -> Self {
        let topic = |name: &str| Topic::create(kafka::shared(), &format!("{hint}{name}"), 2);
        Self {
            source: topic(""),
            copies: topic("-copies"),
            dead_letters: topic("-dlq"),
            group: unique(hint),
            sent: 0,
        }
    }

    fn start(&self, settings: &str) -> (Setup, Host) {
        let config = format!(
            "kafka:\n  brokers: {brokers}\n  properties: {{ topic.metadata.refresh.interval.ms: 500 }}\n\
             plugins:\n  copier:\n    path: {guest}\n    grants: [config, \"output:{copies}\"]\n    \
             config: {{ output: {copies}, host: copier }}\n\
             groups:\n  - id: {group}\n    routes: {{ {source}: copier }}\n    concurrency: 2\n    \
             retry: {{ attempts: 2, backoff: {{ initial: 1s, jitter: 0 }} }}\n    \
             dead_letter: {{ topic: {letters} }}\n    store: store\n{settings}",
            brokers = kafka::shared(),
            guest = guest("copy"),
            copies = self.copies.name(),
            group = self.group,
            source = self.source.name(),
            letters = self.dead_letters.name(),
        );
        let setup = Setup::new(kafka::shared(), &config);
        let host = setup.start();
        (setup, host)
    }

    /// Sends so many events of each of four keys to each partition: `k0` to `k3`.
    fn produce(&mut self, of_each: usize) {
        let mut records = Vec::new();
        for n in 0..of_each * 4 {
            for partition in 0..2 {
                self.sent += 1;
                let value = json!({ "id": partition, "seq": self.sent }).to_string();
                records.push(Record::new(format!("k{}", n % 4), value).partition(partition));
            }
        }
        self.source.produce(&records);
    }

    /// What was copied: by partition and key, the numbers in the order of the copies.
    fn copied(&self) -> BTreeMap<(i32, String), Vec<u64>> {
        let mut copied: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for copy in self.copies.read_all() {
            let value = copy.json();
            if value.get("closed").is_some() {
                continue;
            }
            let key = copy.key.as_deref().unwrap_or_default();
            let key = String::from_utf8_lossy(key).into_owned();
            let seq = value["seq"].as_u64().expect("a number");
            copied.entry((copy.partition, key)).or_default().push(seq);
        }
        copied
    }

    fn copies_of(&self, which: impl Fn(i32, &str) -> bool) -> usize {
        let copied = self.copied();
        let these = copied
            .iter()
            .filter(|((partition, key), _)| which(*partition, key));
        these.map(|(_, seqs)| seqs.len()).sum()
    }

    /// Asks the host to pause or resume some of the group.
    #[track_caller]
    fn ask(&self, host: &Host, verb: &str, of: &str) -> Value {
        let of = of.replace("SOURCE", self.source.name());
        let (status, body) = host
            .post(&format!("/v1/groups/{}/{verb}{of}", self.group))
            .expect("the host answers");
        assert_eq!(status, 200, "{verb} {of}: {body}");
        serde_json::from_str(&body).expect("it is JSON")
    }

    /// Waits until the host says of so many partitions that they wait because they are paused, with this lag in all.
    #[track_caller]
    fn wait_until_paused(&self, host: &Host, partitions: usize, lag: i64) {
        wait::eventually_some("partitions that are paused", TIMEOUT, || {
            let path = format!(
                "/v1/partitions?group={}&topic={}",
                self.group,
                self.source.name()
            );
            let (_, body) = host.get(&path).map_err(|error| error.to_string())?;
            let said: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
            let all = said.as_array().cloned().unwrap_or_default();
            let paused: Vec<_> = all.iter().filter(|it| it["reason"] == "paused").collect();
            let behind: i64 = paused.iter().filter_map(|it| it["lag"].as_i64()).sum();
            match (paused.len(), behind) == (partitions, lag) {
                true => Ok(()),
                false => Err(body),
            }
        });
    }

    /// Everything was copied once, in the order of its key, and nothing was given up.
    #[track_caller]
    fn assert_all_copied(&self, host: &Host) {
        self.source.wait_for_no_lag(&self.group, TIMEOUT);
        let copied = self.copied();
        let all: usize = copied.values().map(Vec::len).sum();
        assert_eq!(all as u64, self.sent, "each once: {copied:?}");
        for (key, seqs) in &copied {
            assert!(seqs.is_sorted(), "{key:?}: {seqs:?}");
        }
        assert!(
            self.dead_letters.read_all().is_empty(),
            "nothing is given up"
        );
        host.metrics().assert_ledger_balanced(&self.group);
    }
}

#[test]
fn what_is_paused_waits_and_everything_else_flows() {
    let mut copying = Copying::new("paused");
    let (_setup, host) = copying.start("");
    for (of, waits) in [
        ("?topic=SOURCE&partition=0", "partition"),
        ("?topic=SOURCE&key=k1", "key"),
        ("?topic=SOURCE", "topic"),
        ("?plugin=copier", "plugin"),
        ("", "group"),
    ] {
        let paused = copying.ask(&host, "pause", of);
        assert_eq!(paused[0]["what"], waits, "{paused}");
        assert_eq!(paused.as_array().map(Vec::len), Some(1));
        let figures = host.metrics();
        assert_eq!(figures.sum("millrace_pauses", &[("of", waits)]), 1.0);
        let held = |partition: i32, key: &str| match waits {
            "partition" => partition == 0,
            "key" => key == "k1",
            _ => true,
        };
        let before = copying.copies_of(|_, _| true);
        copying.produce(5);
        // Five events of four keys in two partitions, in the order of the cases above.
        let (partitions, lag, flows) = match waits {
            "partition" => (1, 20, 20),
            // The first event of the key holds the commit, and the lag is all that lies above it.
            "key" => (2, 38, 30),
            _ => (2, 40, 0),
        };
        copying.wait_until_paused(&host, partitions, lag);
        wait::eventually_some("what is not paused", TIMEOUT, || {
            match copying.copies_of(|_, _| true) - before {
                copied if copied == flows => Ok(()),
                copied => Err(copied),
            }
        });
        let of_held = copying.copies_of(held);
        let (_, ready) = host.get("/readyz?verbose").expect("the host answers");
        assert!(
            ready.contains(&format!("paused by an operator: {waits}")),
            "{ready}"
        );

        let paused = copying.ask(&host, "resume", of);
        assert_eq!(paused, json!([]));
        copying.assert_all_copied(&host);
        assert!(copying.copies_of(held) > of_held, "{waits}");
    }
    host.sigterm().expect_code(0);
}

#[test]
fn a_pause_holds_over_a_rebalance_and_another_configuration() {
    let mut copying = Copying::new("holds");
    let (setup, host) = copying.start("");
    copying.ask(&host, "pause", "?topic=SOURCE");
    copying.produce(5);
    copying.wait_until_paused(&host, 2, 40);
    copying.source.join_and_leave(&copying.group);
    copying.wait_until_paused(&host, 2, 40);

    let before = fs::read_to_string(setup.config_file()).expect("it is there");
    setup.write_config(&before.replace("concurrency: 2", "concurrency: 3"));
    host.hangup();
    wait::eventually("the configuration", TIMEOUT, || {
        let log = host.log();
        log.iter()
            .any(|line| line.to_string().contains("the configuration serves"))
    });
    copying.produce(5);
    copying.wait_until_paused(&host, 2, 80);
    assert_eq!(copying.copies_of(|_, _| true), 0);

    copying.ask(&host, "resume", "?topic=SOURCE");
    copying.assert_all_copied(&host);
    host.sigterm().expect_code(0);
}

#[test]
fn an_event_that_waits_for_a_retry_is_not_given_up_while_it_is_paused() {
    let mut copying = Copying::new("retries");
    let (_setup, host) = copying.start("");
    let value = json!({ "do": "retry", "times": 1, "seq": 1 }).to_string();
    copying
        .source
        .produce(&[Record::new("k0", value).partition(0)]);
    copying.sent = 1;
    wait::eventually("an event that waits", TIMEOUT, || {
        host.metrics().sum("millrace_events_parked", &[]) > 0.0
    });
    let (status, body) = host.post("/v1/plugins/copier/pause").expect("it answers");
    assert_eq!(status, 200, "{body}");
    copying.produce(2);
    copying.wait_until_paused(&host, 2, 17);
    // The second attempt would have been made by now: a second has passed since the first.
    wait::eventually("the time of the retry", TIMEOUT, || {
        let (_, body) = host.get("/v1/partitions").unwrap_or_default();
        let said: Value = serde_json::from_str(&body).unwrap_or_default();
        said[0]["waits_ms"].as_u64().is_some_and(|ms| ms > 2_000)
    });
    assert_eq!(
        copying.copies_of(|_, _| true),
        0,
        "the plugin is not called"
    );
    let (status, body) = host.post("/v1/plugins/copier/resume").expect("it answers");
    assert_eq!(status, 200, "{body}");
    copying.assert_all_copied(&host);
    host.sigterm().expect_code(0);
}

#[test]
fn what_cannot_be_paused_or_resumed_is_refused_with_what_to_do() {
    let copying = Copying::new("asks");
    let (_setup, host) = copying.start("");
    let group = &copying.group;
    for (path, status, part) in [
        (
            "/v1/groups/nobody/pause".to_owned(),
            404,
            "the configuration has",
        ),
        (
            format!("/v1/groups/{group}/pause?topic=other"),
            404,
            "no route for topic other",
        ),
        (
            format!("/v1/groups/{group}/pause?plugin=other"),
            404,
            "its routes lead to copier",
        ),
        (
            format!("/v1/groups/{group}/pause?partition=1"),
            400,
            "`topic`",
        ),
        (format!("/v1/groups/{group}/resume"), 409, "is not paused"),
        (
            "/v1/plugins/other/pause".to_owned(),
            404,
            "no group has plugin other",
        ),
        (
            "/v1/plugins/copier/resume".to_owned(),
            404,
            "paused in no group",
        ),
    ] {
        let (said, body) = host.post(&path).expect("the host answers");
        assert!(
            said == status && body.contains(part),
            "{path}: {said} {body}"
        );
    }
    let (_, body) = host.get("/v1/pauses").expect("the host answers");
    assert_eq!(body.trim(), "[]");
    host.sigterm().expect_code(0);
}
