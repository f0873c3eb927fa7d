//! F5 and F54 as publishers see them: the broker is killed under the gateway, and what was answered OK is in the topic.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::run::let_it_last;
use super::settings::Tier;
use crate::harness::host::Setup;
use crate::harness::ingest::proto::{PublishBatchRequest, PublishRequest, StatusCode};
use crate::harness::ingest::{Publisher, event};
use crate::harness::kafka::{Node, Speed};
use crate::harness::topic::Topic;
use crate::harness::{process, wait};

/// How long the gateway waits for the broker, so that an outage shows within the test.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);

/// From the return of the broker to the first event that is acknowledged again.
const RECOVERY_MAX: Duration = Duration::from_secs(15);

/// What a host of nothing but a gateway may ever hold: what is in flight at most, and the program itself.
const MEMORY_MAX_BYTES: u64 = 400 << 20;

/// What was answered: where each event is that was answered OK, and how many others there were by their status.
#[derive(Default)]
struct Answered {
    places: BTreeMap<u64, (i32, i64)>,
    others: BTreeMap<&'static str, u64>,
}

/// Publishes batches one after the other until it is told to stop.
fn publish(gateway: SocketAddr, topic: Topic, stop: Arc<AtomicBool>) -> JoinHandle<Answered> {
    std::thread::spawn(move || {
        let mut publisher = Publisher::connect(gateway);
        let mut answered = Answered::default();
        let mut next = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let ids: Vec<u64> = (next..next + 50).collect();
            next += 50;
            let events = ids
                .iter()
                .map(|id| event(&topic, &(id % 97).to_string(), id.to_string()));
            let events = events.collect();
            let call = publisher
                .client
                .publish_batch(PublishBatchRequest { events });
            let Ok(answer) = publisher.runtime.block_on(call) else {
                *answered.others.entry("refused as a whole").or_default() += 50;
                continue;
            };
            for (id, status) in ids.iter().zip(answer.into_inner().statuses) {
                match status.code() {
                    StatusCode::Ok => {
                        let place = (
                            status.partition.expect("it is set"),
                            status.offset.expect("it is set"),
                        );
                        answered.places.insert(*id, place);
                    }
                    code => *answered.others.entry(code.as_str_name()).or_default() += 1,
                }
            }
        }
        answered
    })
}

/// The events that were answered OK and are not where the answer says.
fn lost(answered: &Answered, topic: &Topic) -> BTreeSet<u64> {
    let stored = topic.read_all();
    let at: BTreeMap<(i32, i64), &[u8]> = stored
        .iter()
        .filter_map(|record| Some(((record.partition, record.offset), record.value.as_deref()?)))
        .collect();
    answered
        .places
        .iter()
        .filter(|(id, place)| at.get(place) != Some(&id.to_string().as_bytes()))
        .map(|(id, _)| *id)
        .collect()
}

#[test]
fn f5_f54_a_broker_killed_under_the_gateway_loses_nothing_that_was_answered_ok() {
    let (kills, away) = Tier::now().pick((2, 3), (5, 60));
    let mut node = Node::start(Speed::QuickStart);
    let topic = Topic::create(&node.brokers(), "answered", 4);
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let config = format!(
        "ingest:\n  grpc: {{ listen: \"{gateway}\", in_flight_max: 5000 }}\n  producer: {{ delivery_timeout: {}s }}\n",
        DELIVERY_TIMEOUT.as_secs()
    );
    let setup = Setup::new(&node.brokers(), &config);
    let host = setup.start();
    let stop = Arc::new(AtomicBool::new(false));
    let load = publish(gateway, topic.clone(), Arc::clone(&stop));
    let mut publisher = Publisher::connect(gateway);
    let mut once = || {
        let event = Some(event(&topic, "probe", "probe"));
        publisher
            .runtime
            .block_on(publisher.client.publish(PublishRequest { event }))
    };
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        let before = topic.end_offsets().values().sum::<i64>();
        wait::eventually("events between two faults", RECOVERY_MAX, || {
            topic.end_offsets().values().sum::<i64>() > before + 500
        });
        node.kill9();
        let refused = once().expect_err("nobody can have acknowledged it");
        assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
        assert_eq!(
            refused
                .metadata()
                .get("millrace-status")
                .map(|name| name.as_bytes()),
            Some(&b"UNAVAILABLE"[..])
        );
        let_it_last(Duration::from_secs(away));
        node.restart();
        let back = Instant::now();
        wait::eventually_some(
            "an event that is acknowledged again",
            RECOVERY_MAX,
            &mut once,
        );
        slowest = slowest.max(back.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    let answered = load.join().expect("the publisher does not panic");
    let peak_bytes = host.peak_memory_bytes();
    host.sigterm().expect_code(0);

    let lost = lost(&answered, &topic);
    assert_eq!(lost, BTreeSet::new(), "answered OK and not there");
    eprintln!(
        "{kills} kills, {away} s each: {} events answered OK, all there; others {:?}; acknowledged again {slowest:.1?} after \
         the broker was back; peak memory {} MiB",
        answered.places.len(),
        answered.others,
        peak_bytes >> 20,
    );
    assert!(answered.places.len() > 1_000);
    assert!(peak_bytes < MEMORY_MAX_BYTES, "{peak_bytes} bytes");
}
