//! What slow connections cost a good client of the gRPC gateway: the time of a `Publish` call over TLS, from the call to
//! the acknowledgement of Kafka, alone and beside 2 000 connections that are idle, half-way through a TLS handshake,
//! trickling the head of a request, or without a window for the answer, and that come back as they are closed.
//!
//! `MILLRACE_BENCH_SECONDS` (20) is how long each row takes; `MILLRACE_TEST_BROKERS` names a cluster in place of a node
//! of its own. Ends with 1 where the p99 beside them is twice that alone, or more.

#![allow(missing_docs, reason = "a bench has no interface")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench that cannot go on ends, and its answer is what it prints"
)]

#[path = "shared.rs"]
mod shared;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use shared::harness::certificates::Authority;
use shared::harness::host::Setup;
use shared::harness::secure::SecurePublisher;
use shared::harness::slow::SlowCrowd;
use shared::harness::topic::Topic;
use shared::harness::{kafka, process, wait};
use shared::number;

const CROWD: usize = 2_000;
const TOKEN: &str = "a-token-of-the-good-client";

/// Between two calls: a publisher that is not in a hurry, so that what is measured is the way and not a queue.
const EVERY: Duration = Duration::from_millis(5);

/// The ratio that must not be reached.
const RATIO_MAX: f64 = 2.0;

/// Times of calls, in order.
struct Times(Vec<Duration>);

impl Times {
    fn measure(publisher: &mut SecurePublisher, topic: &Topic, seconds: u64) -> Self {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut times = Vec::new();
        while Instant::now() < end {
            let began = Instant::now();
            publisher.publish(topic).expect("a good client is answered");
            times.push(began.elapsed());
            std::thread::sleep(EVERY);
        }
        times.sort_unstable();
        Self(times)
    }

    fn at(&self, share: f64) -> Duration {
        // Rounded down: the index of a share below 1 is below the length.
        self.0[(self.0.len() as f64 * share) as usize]
    }

    fn row(&self, what: &str) {
        println!(
            "{what:<28} {:>6} calls   p50 {:>9.2?}   p99 {:>9.2?}   most {:>9.2?}",
            self.0.len(),
            self.at(0.5),
            self.at(0.99),
            self.at(0.9999),
        );
    }
}

fn main() -> ExitCode {
    let seconds = number("MILLRACE_BENCH_SECONDS", 20);
    let topic = Topic::create(kafka::shared(), "doors", 1);
    let authority = Authority::new();
    let folder = process::folder("tls");
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    authority.server(localhost).write(&folder);
    let gateway = SocketAddr::new(localhost, process::free_port());
    let config = format!(
        "ingest:\n  grpc: {{ listen: \"{gateway}\" }}\n  tls: {{ cert: {dir}/tls.crt, key: {dir}/tls.key }}\n  \
         clients: [{{ name: good, token: {TOKEN}, topics: [\"*\"] }}]\n",
        dir = folder.display()
    );
    let setup = Setup::new(kafka::shared(), &config);
    let _host = setup.start();
    let connector = authority.connector(None, "h2");
    let mut publisher = SecurePublisher::connect(gateway, connector.clone(), Some(TOKEN))
        .expect("the gateway answers");
    // Everything is known and warm before anything is measured.
    Times::measure(&mut publisher, &topic, 2);

    let alone = Times::measure(&mut publisher, &topic, seconds);
    alone.row("alone");
    let crowd = SlowCrowd::gather(gateway, &connector, CROWD);
    wait::eventually("a crowd at the door", Duration::from_secs(60), || {
        crowd.opened() >= CROWD
    });
    let beside = Times::measure(&mut publisher, &topic, seconds);
    beside.row(&format!("beside {CROWD} slow ones"));
    println!(
        "{} slow connections were opened, {} were open at the end",
        crowd.opened(),
        crowd.open()
    );
    let ratio = beside.at(0.99).as_secs_f64() / alone.at(0.99).as_secs_f64();
    println!("p99 beside / p99 alone: {ratio:.2} (must stay below {RATIO_MAX})");
    if ratio < RATIO_MAX {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
