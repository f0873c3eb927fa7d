//! Running events again: where a stopped group is set to, and a range that is replayed beside it.

mod offsets;
mod outcomes;
mod range;
mod swap;

use std::time::Duration;

use serde_json::Value;

use crate::harness::host::{self, Exit, Setup};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a command on a setup's configuration, as a person would type it.
#[track_caller]
fn command(setup: &Setup, words: &[&str], group: &str, options: &[&str]) -> Exit {
    let config = setup.config_file();
    let config = config.to_str().expect("the folder's name is text");
    let of = ["-c", config, "--group", group, "--output", "json"];
    host::command(&[words, &of, options].concat())
}

/// What stands of partition 0 in an answer.
#[track_caller]
fn first_partition(said: &Value) -> &Value {
    &said["partitions"].as_array().expect("a list")[0]
}
