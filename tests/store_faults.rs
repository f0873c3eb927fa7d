//! A settle store whose disk is full, or that is not what it was: events wait or run again, none is believed
//! to be settled that is not.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::main_flow::{plugin, summary, with_sessions_of};
use crate::harness::topic::Record;
use crate::harness::wait;
use crate::harness::witness::Witness;

const TIMEOUT: Duration = Duration::from_secs(60);

const SESSION_MS: u32 = 6_000;

fn events(range: std::ops::Range<usize>) -> Vec<Record> {
    range
        .map(|n| Record::new(format!("k{n}"), "{}").header("id", n.to_string()))
        .collect()
}

/// Limits how long a file of the host may become: to it, the disk is full. The limit can be lifted again. The
/// host has to ignore the signal that comes with it, which no disk sends.
fn limit_files(host: &Host, bytes: &str) {
    let status = Command::new("prlimit")
        .args([
            "--pid",
            &host.pid().to_string(),
            &format!("--fsize={bytes}:"),
        ])
        .status()
        .expect("prlimit runs");
    assert!(status.success());
}

/// Waits until the host says that it cannot settle, and why.
#[track_caller]
fn wait_until_unable(host: &Host, group: &str, reason: &str) {
    wait::eventually_some("not ready, with the reason", TIMEOUT, || {
        let (status, body) = host.get("/readyz?verbose").map_err(|e| e.to_string())?;
        match status == 503 && body.contains("waiting") && body.contains(reason) {
            true => Ok(()),
            false => Err(format!("{status} {body}")),
        }
    });
    let failures = host
        .metrics()
        .sum("millrace_settle_failures_total", &[("group", group)]);
    assert!(failures >= 1.0);
}

#[test]
fn a_full_disk_stops_settling_with_the_reason_and_everything_is_settled_once_when_there_is_room() {
    let witness = Witness::new("full", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let dedup = "    dedup: { id: \"header:id\", window: 24h }\n";
    let setup = Setup::new(kafka::shared(), &witness.config(dedup)).ignoring("XFSZ");
    let mut host = setup.start();
    source.produce(&events(0..50));
    source.wait_for_no_lag(group, TIMEOUT);
    limit_files(&host, "8192");
    source.produce(&events(50..600));

    wait_until_unable(&host, group, "File too large");
    assert_eq!(
        source.committed(group).get(&0),
        Some(&50),
        "nothing is committed"
    );
    limit_files(&host, "unlimited");
    source.wait_for_no_lag(group, TIMEOUT);
    host.wait_until_ready();

    host.metrics().assert_ledger_balanced(group);
    let exit = host.sigterm().expect_code(0);
    let all = summary(&exit, group);
    assert_eq!(
        (all["processed"], all["duplicate"], all["dead"]),
        (600, 0, 0),
        "{all:?}"
    );
    assert_eq!(witness.places(&setup).len(), 600);
    assert_eq!(witness.counted(), 600);
}

#[test]
fn a_host_whose_disk_is_full_still_ends_when_told_to() {
    let witness = Witness::new("full-end", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let config = with_sessions_of(SESSION_MS, &witness.config(""));
    let setup = Setup::new(kafka::shared(), &config).ignoring("XFSZ");
    let host = setup.start();
    limit_files(&host, "8192");
    source.produce(&events(0..500));
    wait::eventually("a settle that failed", TIMEOUT, || {
        let labels = [("group", group)];
        host.metrics()
            .sum("millrace_settle_failures_total", &labels)
            >= 1.0
    });
    host.sigterm().expect_code(0);
    assert_eq!(source.committed(group).get(&0).copied().unwrap_or(0), 0);

    let host = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);
    host.sigterm().expect_code(0);
    assert_eq!(witness.places(&setup).len(), 500, "each line once");
}

#[test]
fn a_store_that_cannot_grow_is_opened_again_when_there_is_room_and_no_event_is_a_false_duplicate() {
    const EVENTS: usize = 300;
    let witness = Witness::new("full-store", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    // Without a journal, so that the store is what fails. The plugin rejects these events.
    let config = format!(
        "plugins:\n  analytics:\n    path: {}\n    grants: [metrics, tally, \"output:{}\"]\ngroups:\n  \
         - id: {group}\n    routes: {{ {}: analytics }}\n    dead_letter: {{ topic: {dead} }}\n    \
         dedup: {{ id: \"header:id\", window: 24h }}\n    store: store/witness\n",
        plugin("analytics"),
        witness.dead_letters.name(),
        source.name(),
        dead = witness.dead_letters.name(),
    );
    let setup = Setup::new(kafka::shared(), &config).ignoring("XFSZ");
    let mut host = setup.start();
    source.produce(&events(0..10));
    source.wait_for_no_lag(group, TIMEOUT);
    limit_files(&host, "4096");
    source.produce(&events(10..EVENTS));
    wait_until_unable(&host, group, "settle store");
    assert_eq!(source.committed(group).get(&0), Some(&10));
    limit_files(&host, "unlimited");
    source.wait_for_no_lag(group, TIMEOUT);
    host.wait_until_ready();

    host.metrics().assert_ledger_balanced(group);
    let exit = host.sigterm().expect_code(0);
    let all = summary(&exit, group);
    assert_eq!(
        (all["dead"], all["duplicate"]),
        (EVENTS as u64, 0),
        "{all:?}"
    );
    assert_eq!(witness.dead_letters.read_all().len(), EVENTS);
}

fn store_file(setup: &Setup) -> PathBuf {
    setup.folder().join("store/witness/settle.redb")
}

/// What is done to a store's file between two runs.
type Damage = fn(&PathBuf);

#[test]
fn a_store_that_cannot_be_believed_is_set_aside_and_no_event_is_taken_for_settled() {
    let damages: [(&str, Damage); 5] = [
        ("emptied", |file| fs::write(file, b"").expect("it is there")),
        ("foreign", |file| {
            fs::write(file, b"key: value\n").expect("it is there")
        }),
        ("truncated", |file| {
            let bytes = fs::read(file).expect("it is there");
            fs::write(file, &bytes[..bytes.len() / 3]).expect("it is there");
        }),
        ("torn", |file| {
            let mut bytes = fs::read(file).expect("it is there");
            let len = bytes.len();
            bytes[4_096..len].fill(0);
            fs::write(file, bytes).expect("it is there");
        }),
        ("overwritten", |file| {
            let mut bytes = fs::read(file).expect("it is there");
            fastrand::Rng::with_seed(1).fill(&mut bytes);
            fs::write(file, bytes).expect("it is there");
        }),
    ];
    let witness = Witness::new("damaged", 1);
    let (source, group) = (&witness.source, witness.group.as_str());
    let config = with_sessions_of(SESSION_MS, &witness.config(""));
    let setup = Setup::new(kafka::shared(), &config);
    source.produce(&events(0..20));
    let host = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);
    host.sigterm().expect_code(0);
    for (round, (how, damage)) in damages.iter().enumerate() {
        damage(&store_file(&setup));
        source.produce(&events(0..20));
        let host = setup.start();
        source.wait_for_no_lag(group, TIMEOUT);
        host.metrics().assert_ledger_balanced(group);
        let exit = host.sigterm().expect_code(0);
        assert_eq!(summary(&exit, group)["processed"], 20, "{how}");
        assert!(
            exit.stderr.contains("cannot be believed and was set aside"),
            "{how}: {}",
            exit.stderr
        );
        let folder = fs::read_dir(setup.folder().join("store/witness")).expect("it is there");
        let aside = folder.filter(|entry| {
            let name = entry.as_ref().expect("an entry").file_name();
            name.to_string_lossy().contains(".set-aside-")
        });
        assert_eq!(aside.count(), round + 1, "{how}: the damaged file is kept");
    }
}
