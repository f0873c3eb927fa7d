//! `millrace plugin bench`: that its figures are there, hang together, and are of what was asked for.

use std::fs;

use super::millrace;
use crate::harness::process;
use crate::sandbox::guest;

#[test]
fn the_figures_hang_together() {
    let folder = process::folder("bench");
    let component = guest("analytics").display().to_string();
    let args = [
        "plugin", "bench", &component, "--for", "300ms", "--batch", "64", "--grant", "metrics",
        "--grant", "tally", "--output", "json",
    ];
    let told = millrace(&folder, &args, &[]).expect(0).json();
    let figure = |path: &str| {
        told.pointer(path)
            .and_then(serde_json::Value::as_f64)
            .expect(path)
    };
    assert!(figure("/batch") <= 64.0 && figure("/batch") >= 1.0);
    let each = figure("/ns_per_event/plugin") + figure("/ns_per_event/host");
    let rate = figure("/events_per_second") * each / 1e9;
    assert!(
        (0.98..1.02).contains(&rate),
        "a rate of {rate} of what the parts leave time for: {told}"
    );
    let parts =
        ["packing", "crossing", "judging"].map(|part| figure(&format!("/ns_per_event/{part}")));
    assert!(
        (parts.iter().sum::<f64>() - figure("/ns_per_event/host")).abs() <= 2.0,
        "{told}"
    );
    for spread in ["call", "event"] {
        let of = |percentile: &str| figure(&format!("/{spread}/{percentile}_us"));
        assert!(of("p50") > 0.0 && of("p50") <= of("p99"), "{told}");
    }
    assert!(figure("/instance_us") < figure("/compile_us"), "{told}");
    assert!(figure("/cached_us") < figure("/compile_us"), "{told}");
    let events = figure("/events");
    assert_eq!(
        figure("/outcomes/processed"),
        events,
        "sample events are what it reads: {told}"
    );
}

#[test]
fn events_that_fail_are_counted_and_the_first_says_why() {
    let folder = process::folder("bench");
    fs::write(
        folder.join("e.jsonl"),
        "{\"value\":\"x\"}\n{\"value\":\"trap\"}\n",
    )
    .unwrap();
    let component = guest("one-at-a-time").display().to_string();
    let grants = ["tally", "journal", "metrics", "state", "output:echo"];
    let mut args = vec![
        "plugin", "bench", &component, "--events", "e.jsonl", "--for", "100ms",
    ];
    args.extend(grants.iter().flat_map(|grant| ["--grant", grant]));
    let answer = millrace(&folder, &args, &[]).expect(0);
    for part in [
        " trap",
        "the event said so",
        "2 events of e.jsonl",
        "crossing not told apart",
    ] {
        assert!(
            answer.stdout.contains(part),
            "{part:?} is not in:\n{}",
            answer.stdout
        );
    }
}
