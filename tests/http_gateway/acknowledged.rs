//! F54: the broker is killed in between, and what was answered 202 is in the topic all the same.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::start_with;
use crate::harness::http::{Reply, publish};
use crate::harness::kafka::{Node, Speed};
use crate::harness::topic::Topic;
use crate::harness::wait;

/// Events of one batch.
const BATCH: usize = 50;

/// What publishers have been told so far.
#[derive(Debug, Default)]
struct Told {
    accepted: Mutex<BTreeSet<String>>,
    /// Statuses that were answered.
    statuses: Mutex<BTreeSet<u16>>,
    enough: AtomicBool,
}

impl Told {
    fn accepted(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    fn note(&self, reply: &Reply, ids: &[String]) {
        self.statuses.lock().unwrap().insert(reply.status);
        if matches!(reply.status, 429 | 503) {
            let pause: u64 = reply
                .header("retry-after")
                .parse()
                .expect("it says when to come again");
            assert!(pause >= 1);
        }
        let mut accepted = self.accepted.lock().unwrap();
        match (reply.status, ids) {
            (202, [id]) => {
                accepted.insert(id.clone());
            }
            (202 | 207, ids) => {
                let events = reply.json()["events"].clone();
                let each = ids.iter().zip(events.as_array().unwrap());
                let ok = each.filter(|(_, event)| event["status"] == 202);
                accepted.extend(ok.map(|(id, _)| id.clone()));
            }
            _ => {}
        }
    }
}

/// Publishes new ids without a pause until it is enough: single events, or batches.
fn publisher(
    told: Arc<Told>,
    gateway: SocketAddr,
    topic: Topic,
    name: usize,
    batch: usize,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for round in 0.. {
            if told.enough.load(Ordering::Relaxed) {
                return;
            }
            let ids: Vec<String> = (0..batch).map(|n| format!("{name}-{round}-{n}")).collect();
            let reply = if batch == 1 {
                publish(gateway, topic.name(), "", &[], ids[0].as_bytes())
            } else {
                let lines: Vec<String> = ids.iter().map(|id| format!("\"{id}\"")).collect();
                let header = ("content-type", "application/x-ndjson");
                publish(
                    gateway,
                    topic.name(),
                    "",
                    &[header],
                    lines.join("\n").as_bytes(),
                )
            };
            told.note(&reply.expect("the gateway answers all the while"), &ids);
        }
    })
}

#[test]
fn every_accepted_id_is_in_the_topic_though_the_broker_was_killed_in_between() {
    let mut node = Node::start(Speed::QuickStart);
    let topic = Topic::create(&node.brokers(), "http-killed", 3);
    // Publishers learn of the outage while it lasts.
    let kafka = format!(
        "kafka:\n  brokers: {}\n  properties: {{ delivery.timeout.ms: 2000 }}\n",
        node.brokers()
    );
    let (host, gateway) = start_with(&node.brokers(), "", &kafka);
    let told = Arc::new(Told::default());
    let publishers: Vec<_> = [1, 1, BATCH, BATCH]
        .into_iter()
        .enumerate()
        .map(|(name, batch)| publisher(Arc::clone(&told), gateway, topic.clone(), name, batch))
        .collect();
    let long = Duration::from_secs(60);
    wait::eventually("events before the kill", long, || told.accepted() > 2_000);
    node.kill9();
    wait::eventually("an answer that the broker is away", long, || {
        told.statuses.lock().unwrap().contains(&503)
    });
    node.restart();
    let before = told.accepted();
    wait::eventually("events after the kill", long, || {
        told.accepted() > before + 500
    });
    told.enough.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.join().expect("each answer was in order");
    }
    host.sigterm().expect_code(0);

    let stored: BTreeSet<String> = topic
        .read_all()
        .into_iter()
        .map(|record| {
            String::from_utf8(record.value.unwrap())
                .unwrap()
                .trim_matches('"')
                .to_owned()
        })
        .collect();
    let accepted = told.accepted.lock().unwrap();
    let lost: Vec<&String> = accepted.difference(&stored).collect();
    assert!(
        lost.is_empty(),
        "{} of {} are lost: {lost:?}",
        lost.len(),
        accepted.len()
    );
}
