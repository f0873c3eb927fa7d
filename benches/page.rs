//! How long the admin page waits for its answers: a host with a group of 1 000 partitions and 100 000 dead letters of three
//! reasons, asked for everything that the page asks for while events flow, each answer on a connection of its own.
//!
//! `MILLRACE_BENCH_SECONDS` (20) is how long it is asked; `MILLRACE_TEST_BROKERS` names a cluster in place of a node of its
//! own. Ends with 1 where an answer takes 100 ms or more.

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

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use shared::harness::host::{Host, Setup};
use shared::harness::kafka::Speed;
use shared::harness::load::{ENDLESS, Load, Plan};
use shared::harness::topic::{Topic, unique};
use shared::harness::{http, wait};
use shared::{PATIENCE, cluster, number};

const PARTITIONS: i32 = 1_000;
const LETTERS: u64 = 100_000;

/// Events a second while the page is asked.
const RATE: u64 = 5_000;

/// Each answer has to come within this.
const ANSWER_MAX: Duration = Duration::from_millis(100);

/// Between two looks: the page looks less often, and several people may have it open.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What makes a dead letter of an event, for one of three reasons. All are rejections: so many keys that asked for a retry
/// would be taken for an outage, and their events would wait.
fn fails(id: u64) -> Option<serde_json::Value> {
    Some(match id % 3 {
        0 => json!({ "do": "reject" }),
        1 => json!({ "seq": "none" }),
        _ => json!({ "times": -1 }),
    })
}

fn setup(events: &Topic, letters: &Topic) -> Setup {
    let top = env!("CARGO_MANIFEST_DIR");
    let config = format!(
        "plugins:\n  copy:\n    path: {top}/tests/guests/target/copy.wasm\n    \
         grants: [config, \"output:{copies}\"]\n    config: {{ output: {copies}, host: a }}\n\
         groups:\n  - id: {id}\n    routes: {{ {events}: copy }}\n    dead_letter: {{ topic: {letters} }}\n    \
         store: store\n",
        id = unique("group"),
        events = events.name(),
        letters = letters.name(),
        // The copies go nowhere near the page; the source has as many partitions as they need.
        copies = Topic::create(events.brokers(), "copies", PARTITIONS).name(),
    );
    Setup::new(events.brokers(), &config)
}

/// The times of one request, in order.
fn asked(host: &Host, path: &str, until: Instant) -> (Vec<Duration>, usize) {
    let (mut times, mut bytes) = (Vec::new(), 0);
    while Instant::now() < until {
        let began = Instant::now();
        let reply = http::ask(host.admin(), "GET", path, &[], b"").expect("the host answers");
        times.push(began.elapsed());
        assert_eq!(reply.status, 200, "{path}");
        bytes = reply.body.len();
        thread::sleep(LOOK_EVERY);
    }
    times.sort_unstable();
    (times, bytes)
}

fn main() -> ExitCode {
    let seconds = number("MILLRACE_BENCH_SECONDS", 20);
    let (_node, brokers) = cluster(Speed::Throughput);
    let events = Topic::create(&brokers, "events", PARTITIONS);
    let letters = Topic::create(&brokers, "letters", 4);
    let setup = setup(&events, &letters);
    let host = setup.start();
    let record = |name: &str| setup.folder().join(name);
    eprintln!("{LETTERS} events that fail");
    let plan = Plan::of(LETTERS, PARTITIONS).deed(fails);
    Load::start(&events, plan, record("failing.jsonl")).finish();
    wait::eventually("a dead letter of each event", PATIENCE, || {
        letters.end_offsets().values().sum::<i64>() >= LETTERS as i64
    });
    let of_letters = format!("/v1/dead-letters/{}", letters.name());
    wait::eventually("all of them read", PATIENCE, || {
        let (_, answer) = host.get(&of_letters).expect("the host answers");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("it is JSON");
        answer["letters"].as_u64() == Some(LETTERS)
    });
    let plan = Plan::of(ENDLESS, PARTITIONS).rate(RATE);
    let load = Load::start(&events, plan, record("flowing.jsonl"));
    let paths = [
        "/",
        "/v1/host",
        "/v1/groups",
        "/v1/plugins",
        "/v1/pauses",
        "/v1/partitions",
        "/v1/lanes",
        "/v1/configuration",
        "/v1/dead-letters",
        &of_letters,
    ];
    let until = Instant::now() + Duration::from_secs(seconds);
    let rows: Vec<_> = thread::scope(|scope| {
        let asking = paths.map(|path| (path, scope.spawn(|| asked(&host, path, until))));
        let told = asking.map(|(path, asking)| (path, asking.join().expect("it was answered")));
        told.into_iter().collect()
    });
    load.stop();
    println!(
        "{PARTITIONS} partitions, {LETTERS} dead letters, {RATE} events a second, {} requests at once\n",
        paths.len()
    );
    println!("| request | answers | bytes | p50 | most |\n| --- | ---: | ---: | ---: | ---: |");
    let mut most = Duration::ZERO;
    for (path, (times, bytes)) in &rows {
        let (middle, last) = (times[times.len() / 2], times[times.len() - 1]);
        most = most.max(last);
        let path = path.replace(letters.name(), "TOPIC");
        println!(
            "| `{path}` | {} | {bytes} | {middle:.1?} | {last:.1?} |",
            times.len()
        );
    }
    println!("\nthe slowest took {most:.1?} (must stay below {ANSWER_MAX:?})");
    host.sigterm().expect_code(0);
    if most < ANSWER_MAX {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
