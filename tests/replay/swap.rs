//! `millrace replay compare` and `millrace replay swap`: what a replay came to, and in the place of what there was.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use super::range::{Counting, lines};
use super::{TIMEOUT, command, first_partition};
use crate::harness::host::Setup;

/// What a swap leaves beside the live store when it is interrupted at once.
fn interrupt_a_swap(counting: &Counting, setup: &Setup) {
    let live = setup.folder().join("store/live");
    let inode = fs::metadata(live.join("settle.redb"))
        .expect("a store")
        .ino();
    let begun = json!({
        "side": setup.folder().join("store/live.replay"),
        "back": false,
        "inode": inode,
        "stood": [{ "topic": counting.source.name(), "partition": 0, "committed": 9 }],
    });
    fs::write(live.join("swap-pending.json"), begun.to_string()).expect("it can be written");
}

/// A group that has counted nine events twice, and a replay that has counted them once; both have ended.
fn counted_twice() -> (Counting, Setup) {
    let (counting, setup) = Counting::new("swap");
    let (source, group) = (&counting.source, counting.group.as_str());
    counting.produce(&["x"; 9]);
    let live = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);
    live.sigterm().expect_code(0);
    command(&setup, &["offsets", "set"], group, &["--to", "earliest"]).expect_code(0);
    let live = setup.start();
    source.wait_for_no_lag(group, TIMEOUT);
    let whole = ["--from", "earliest", "--to", "committed"];
    counting.replay(&setup, &whole).expect_code(0);
    refused(&counting, &setup, &["compare"], "is in use; stop its host");
    refused(&counting, &setup, &["swap"], "has members");
    live.sigterm().expect_code(0);
    (counting, setup)
}

/// `millrace replay` with these words changes nothing, and tells why.
#[track_caller]
fn refused(counting: &Counting, setup: &Setup, words: &[&str], told: &str) {
    let (name, options) = match words {
        [name @ ("compare" | "swap"), options @ ..] => (Some(*name), options),
        options => (None, options),
    };
    let name: Vec<&str> = ["replay"].into_iter().chain(name).collect();
    let exit = command(setup, &name, &counting.group, options).expect_code(2);
    assert!(exit.stderr.contains(told), "{}", exit.stderr);
}

#[test]
fn the_state_of_a_replay_is_compared_takes_the_place_of_the_live_one_and_goes_back() {
    let (counting, setup) = counted_twice();
    let group = counting.group.as_str();
    let swap = |options: &[&str]| {
        let exit = command(&setup, &["replay", "swap"], group, options);
        exit.expect_code(0).json()
    };
    let said = command(&setup, &["replay", "compare"], group, &[]);
    let said = said.expect_code(1).json();
    let state = &said["state"];
    assert_eq!(
        (&state["same"], &state["different"]),
        (&json!(0), &json!(3))
    );
    let first = &state["first"][0];
    assert_eq!((&first["live"], &first["side"]), (&json!("6"), &json!("3")));
    let outputs = &said["outputs"][0];
    assert_eq!(
        (&outputs["same"], &outputs["only_side"]),
        (&json!(9), &json!(0)),
        "the first nine outputs of the live group are those of the side"
    );

    assert_eq!(first_partition(&swap(&["--dry-run"]))["after"], 9);
    interrupt_a_swap(&counting, &setup);
    let exit = setup.run_to_exit().expect_code(1);
    let told = "run `millrace replay swap` again";
    assert!(exit.stderr.contains(told), "{}", exit.stderr);
    swap(&[]);
    assert_eq!(
        counting.counts_after(&setup, "x"),
        4,
        "the state of the side"
    );

    refused(
        &counting,
        &setup,
        &["swap"],
        "--back takes the old one back",
    );
    let part = format!("{}:0", counting.source.name());
    let again = ["--from", "earliest", "--again", "--topic", &part];
    refused(
        &counting,
        &setup,
        &again,
        "holds the state that the live group had",
    );
    let back = swap(&["--back"]);
    let moved = first_partition(&back);
    assert_eq!(
        (&moved["after"], &moved["again"]),
        (&json!(9), &json!(1)),
        "what was handled on the state of the side runs again on the old one"
    );
    assert_eq!(counting.counts_after(&setup, "y"), 8, "6 and two events");

    // A part of what the group reads cannot take the place of the whole.
    counting.replay(&setup, &again).expect_code(0);
    refused(&counting, &setup, &["swap"], "would be lost");
}

#[test]
fn a_replay_that_is_ahead_of_its_group_serves_only_where_its_outputs_may_stay_in_files() {
    let (counting, setup) = Counting::new("ahead");
    let (source, group) = (&counting.source, counting.group.as_str());
    counting.produce(&["x"; 9]);
    counting.handle_all(&setup);
    counting.produce(&["x"; 3]);
    counting
        .replay(&setup, &["--from", "earliest"])
        .expect_code(0);
    let compared = command(&setup, &["replay", "compare"], group, &[]);
    let compared = compared.expect_code(1).json();
    let outputs = &compared["outputs"][0];
    assert_eq!(
        (&outputs["same"], &outputs["only_side"]),
        (&json!(9), &json!(3))
    );

    let told = "has handled 3 offsets that the live group had not";
    refused(&counting, &setup, &["swap"], told);
    refused(
        &counting,
        &setup,
        &["swap", "--dry-run"],
        "--accept-captured",
    );
    let swap = |options: &[&str]| {
        let exit = command(&setup, &["replay", "swap"], group, options);
        exit.expect_code(0).json()
    };
    let dry = swap(&["--accept-captured", "--dry-run"]);
    assert_eq!(
        (&dry["swapped"], &first_partition(&dry)["after"]),
        (&json!(false), &json!(12))
    );
    assert_eq!(source.committed(group)[&0], 9, "a dry run sets nothing");
    let done = swap(&["--accept-captured"]);
    let moved = first_partition(&done);
    let of_moved = ["before", "after", "skipped"].map(|name| moved[name].as_i64());
    assert_eq!(of_moved, [Some(9), Some(12), Some(3)]);

    assert_eq!(counting.counts_after(&setup, "x"), 5, "four of the side");
    assert_eq!(
        counting.outputs().len(),
        10,
        "nobody sends what the replay alone has handled"
    );
    let back = swap(&["--back"]);
    let moved = first_partition(&back);
    assert_eq!(
        (&moved["after"], &moved["again"]),
        (&json!(9), &json!(4)),
        "what the live group had not handled before the swap runs on its own state"
    );
    assert_eq!(lines(&setup, "outputs/counts.jsonl").len(), 12);
    assert_eq!(
        counting.counts_after(&setup, "x"),
        6,
        "three and three events"
    );
    assert_eq!(counting.outputs().len(), 10 + 5);
}
