//! Reloads under load: no event is lost, none is handled by two versions, and none waits for long.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::harness::host::Host;
use crate::harness::load::{ENDLESS, Load, Plan};
use crate::harness::process;
use crate::harness::topic::Stored;
use crate::harness::versions::{
    SERVES_TIMEOUT, Versioned, component, replace, state, wait_for_refusal, wait_for_version,
};
use crate::harness::wait;

/// Partitions of the source.
const PARTITIONS: i32 = 4;

/// Events a second.
const RATE: u64 = 2_000;

/// Around a swap, in milliseconds, a gap between two outputs is counted to it.
const AROUND_MS: i64 = 500;

fn marker(number: usize) -> String {
    format!("v{number:07}")
}

fn version(number: usize) -> String {
    format!("{number}.0.0")
}

/// What was sent and acknowledged stands in the outputs once each, and each output says one version twice: by
/// the plugin's own word, and by the host's.
#[track_caller]
fn assert_each_handled_by_one_version(
    stamps: &BTreeMap<u64, Vec<Stored>>,
    sent: u64,
) -> BTreeMap<String, usize> {
    let mut by_marker: BTreeMap<String, usize> = BTreeMap::new();
    for (id, outputs) in stamps {
        assert_eq!(
            outputs.len(),
            1,
            "event {id} was handled twice: {outputs:?}"
        );
        let said = outputs[0].json()["marker"]
            .as_str()
            .expect("text")
            .to_owned();
        let number: usize = said[1..].parse().expect("a number");
        let header = outputs[0].header("millrace.plugin").expect("a header");
        assert_eq!(
            header,
            format!("versioned@{}", version(number)),
            "event {id}"
        );
        *by_marker.entry(said).or_default() += 1;
    }
    assert_eq!(stamps.len() as u64, sent, "none is lost, none is made up");
    by_marker
}

/// The longest time between two outputs that follow each other, around these moments and otherwise.
fn longest_gaps_ms(stamps: &BTreeMap<u64, Vec<Stored>>, swaps_ms: &[i64]) -> (i64, i64) {
    let outputs = stamps.values().flatten();
    let mut times: Vec<i64> = outputs.filter_map(|output| output.timestamp_ms).collect();
    times.sort_unstable();
    let (mut around, mut otherwise) = (0, 0);
    for pair in times.windows(2) {
        let gap = pair[1] - pair[0];
        let near = |swap: &&i64| pair[1] >= **swap - AROUND_MS && pair[0] <= **swap + AROUND_MS;
        let longest = if swaps_ms.iter().any(|swap| near(&swap)) {
            &mut around
        } else {
            &mut otherwise
        };
        *longest = gap.max(*longest);
    }
    (around, otherwise)
}

/// Prints what the swaps at these moments cost.
fn report(host: &Host, stamps: &BTreeMap<u64, Vec<Stored>>, swaps_ms: &[i64]) {
    let log = host.log();
    let taken_up = log
        .iter()
        .filter(|line| line["message"] == "a lane calls another version");
    let slowest_us = taken_up.filter_map(|line| line["took_us"].as_u64()).max();
    let slowest_us = slowest_us.expect("lanes took versions up");
    let (around, otherwise) = longest_gaps_ms(stamps, swaps_ms);
    eprintln!(
        "{} versions and a broken one over {} events: a lane stood still for {slowest_us} us at most to take a \
         version up; longest time between two outputs {around} ms around a swap, {otherwise} ms otherwise",
        swaps_ms.len(),
        stamps.len()
    );
}

#[test]
fn events_flow_through_many_versions_and_a_broken_one_and_each_is_handled_by_one() {
    let long = process::setting("MILLRACE_FAULT_TIER").as_deref() == Some("long");
    let (reloads, every) = if long {
        (20, Duration::from_secs(3))
    } else {
        (5, Duration::from_secs(1))
    };
    let broken = reloads / 2;
    let versioned = Versioned::new("flow", PARTITIONS);
    let (setup, file) = versioned.setup(&component(&marker(0), Some(&version(0))), "");
    let host = setup.start();
    let record: PathBuf = setup.folder().join("load");
    let load = Load::start(
        &versioned.source,
        Plan::of(ENDLESS, PARTITIONS).rate(RATE),
        record,
    );
    let flows = |more: u64| {
        let from = load.acked();
        wait::eventually("events that flow", SERVES_TIMEOUT, || {
            load.acked() >= from + more
        });
    };
    flows(RATE);

    let mut swaps_ms = Vec::new();
    for number in 1..=reloads {
        let began = Instant::now();
        if number == broken {
            replace(&file, &component("refuses!", Some("broken")));
            let state = wait_for_refusal(&host, "this version refuses to start");
            assert_eq!(state["version"], version(number - 1));
        } else {
            replace(&file, &component(&marker(number), Some(&version(number))));
            wait_for_version(&host, &version(number));
            swaps_ms.push(state(&host)["since_ms"].as_i64().expect("a number"));
        }
        // Events that this version is to handle, before the next one comes.
        let rest = every.saturating_sub(began.elapsed());
        flows(RATE / 4 + (RATE as f64 * rest.as_secs_f64()) as u64);
    }
    load.stop();
    let sent: i64 = versioned.source.end_offsets().values().sum();
    versioned.wait_until_committed();

    let stamps = versioned.stamps();
    let by_marker = assert_each_handled_by_one_version(&stamps, sent as u64);
    assert_eq!(
        by_marker.len(),
        reloads,
        "every version that works handled some: {by_marker:?}"
    );
    host.metrics().assert_ledger_balanced(&versioned.group);
    let refused = host
        .metrics()
        .sum("millrace_plugin_versions_refused_total", &[]);
    assert_eq!(refused, 1.0);
    let said = host.log().iter().any(|line| {
        let text = line.to_string();
        text.contains("a version is refused") && text.contains("this version refuses to start")
    });
    assert!(said, "the log says why");
    report(&host, &stamps, &swaps_ms);
    host.sigterm().expect_code(0);
}

#[test]
fn versions_are_replaced_on_both_hosts_while_a_rebalance_is_under_way() {
    let versioned = Versioned::new("moving", PARTITIONS);
    let first = component(&marker(0), Some(&version(0)));
    let setups = [(), ()].map(|()| versioned.setup(&first, ""));
    let stays = setups[0].0.start();
    let record = setups[0].0.folder().join("load");
    let load = Load::start(
        &versioned.source,
        Plan::of(ENDLESS, PARTITIONS).rate(RATE),
        record,
    );
    wait::eventually("events that flow", SERVES_TIMEOUT, || load.acked() > RATE);

    for (_, file) in &setups {
        replace(file, &component(&marker(1), Some(&version(1))));
    }
    let comes = setups[1].0.start();
    wait_for_version(&stays, &version(1));
    for (_, file) in &setups {
        replace(file, &component(&marker(2), Some(&version(2))));
    }
    wait_for_version(&comes, &version(2));
    wait_for_version(&stays, &version(2));
    for (_, file) in &setups {
        replace(file, &component(&marker(3), Some(&version(3))));
    }
    comes.sigterm().expect_code(0);
    wait_for_version(&stays, &version(3));
    let from = load.acked();
    wait::eventually("events of the last version", SERVES_TIMEOUT, || {
        load.acked() > from + RATE
    });
    load.stop();
    let sent: i64 = versioned.source.end_offsets().values().sum();
    versioned.wait_until_committed();

    let by_marker = assert_each_handled_by_one_version(&versioned.stamps(), sent as u64);
    assert!(by_marker.contains_key(&marker(3)), "{by_marker:?}");
    stays.sigterm().expect_code(0);
}
