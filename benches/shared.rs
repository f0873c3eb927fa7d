//! What the benches on a real Kafka share: the harness of the integration tests, the cluster, what chooses rounds and
//! rows, medians, and where tables are left. It must not know what is measured.

#![allow(dead_code, reason = "each bench uses a part")]
#![allow(clippy::print_stderr, reason = "it tells how far it is")]

use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use harness::kafka::{Node, Speed};
use harness::process::{self, setting};

#[path = "../tests/harness"]
pub(crate) mod harness {
    pub(crate) mod certificates;
    pub(crate) mod config_schema;
    pub(crate) mod frames;
    pub(crate) mod host;
    pub(crate) mod http;
    pub(crate) mod ingest;
    pub(crate) mod kafka;
    pub(crate) mod load;
    pub(crate) mod metrics;
    pub(crate) mod process;
    pub(crate) mod secure;
    pub(crate) mod slow;
    pub(crate) mod toolchains;
    pub(crate) mod topic;
    pub(crate) mod wait;
    pub(crate) mod yaml;
}

/// For everything that ends by itself on a working machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The kernel counts processor time in hundredths of a second, on every architecture that Rust knows.
const CPU_TICKS_PER_SECOND: f64 = 100.0;

/// The cluster that `MILLRACE_TEST_BROKERS` names, or a node of its own, which ends when it is dropped.
pub(crate) fn cluster(speed: Speed) -> (Option<Node>, String) {
    if let Some(brokers) = setting("MILLRACE_TEST_BROKERS") {
        return (None, brokers);
    }
    eprintln!("starting Kafka");
    let node = Node::start(speed);
    let brokers = node.brokers();
    (Some(node), brokers)
}

/// A number that the environment gives, as in `2_000_000`.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    setting(name).map_or(default, |text| text.replace('_', "").parse().expect(name))
}

/// Those of these rows that `MILLRACE_BENCH_ROWS` names, or all.
pub(crate) fn chosen<R: Copy>(rows: &[R], name: fn(R) -> &'static str) -> Vec<R> {
    let Some(chosen) = setting("MILLRACE_BENCH_ROWS") else {
        return rows.to_vec();
    };
    let names: Vec<&str> = rows.iter().copied().map(name).collect();
    let is_chosen = |row: &R| chosen.split(',').any(|it| it.trim() == name(*row));
    let chosen: Vec<R> = rows.iter().copied().filter(is_chosen).collect();
    assert!(
        !chosen.is_empty(),
        "MILLRACE_BENCH_ROWS names none of {}",
        names.join(", ")
    );
    chosen
}

/// What is ordered from this very program, in a process of its own; none in the parent.
pub(crate) fn order() -> Option<Value> {
    let order = setting("MILLRACE_BENCH_CHILD")?;
    Some(serde_json::from_str(&order).expect("the parent writes JSON"))
}

/// Runs this very program once more, with an [`order`], and returns what it printed.
pub(crate) fn in_child(order: &Value) -> String {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = process::tethered(program);
    command
        .env("MILLRACE_BENCH_CHILD", order.to_string())
        .stdout(Stdio::piped());
    let mut child = process::spawn(command).expect("this program can be started");
    let mut answer = String::new();
    let stdout = child.stdout.as_mut().expect("it is piped");
    stdout
        .read_to_string(&mut answer)
        .expect("the child writes text");
    let status = process::wait_for_exit(&mut child, "a child", PATIENCE);
    assert!(status.success(), "the child of {order} ended with {status}");
    answer
}

/// The middle one, or what lies between the two; zero of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// User and system time of this process, in seconds.
pub(crate) fn own_cpu() -> f64 {
    cpu_seconds(std::process::id(), 11)
}

/// The same of another one.
pub(crate) fn cpu_of(pid: u32) -> f64 {
    cpu_seconds(pid, 11)
}

/// The same of all children of this one that have ended and were waited for.
pub(crate) fn cpu_of_children() -> f64 {
    cpu_seconds(std::process::id(), 13)
}

fn cpu_seconds(pid: u32, first_field: usize) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("this is Linux");
    // The name of the program may hold anything, so fields are counted from behind it.
    let (_, fields) = stat.rsplit_once(')').expect("the name is in brackets");
    let ticks = fields.split_whitespace().skip(first_field).take(2);
    ticks
        .map(|field| field.parse::<f64>().expect("it is a number"))
        .sum::<f64>()
        / CPU_TICKS_PER_SECOND
}

/// Prints a table, and leaves it in the target folder as `bench-NAME.md`.
pub(crate) fn leave(name: &str, table: &str) {
    println!("\n{table}");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(format!("bench-{name}.md"));
    std::fs::write(&file, table).expect("the target folder can be written");
    eprintln!("the table is in {}", file.display());
}
