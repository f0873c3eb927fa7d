//! Records of every form, dead-letter topics that do not take them, and topics that change under the host:
//! nothing is lost, nothing is committed too early, and what waits says why.

mod changed_topics;
mod duplicates;
mod forms;
mod refused;
mod scripted;

use std::time::Duration;

use crate::harness::host::Host;
use crate::harness::wait;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until `/readyz?verbose` says this of what a group waits for, and returns all it says.
#[track_caller]
fn wait_for_reason(host: &Host, words: &[&str]) -> (u16, String) {
    wait::eventually_some("the reason in /readyz", TIMEOUT, || {
        let (status, body) = host.get("/readyz?verbose").map_err(|e| e.to_string())?;
        match words.iter().all(|word| body.contains(word)) {
            true => Ok((status, body)),
            false => Err(format!("{status} {body}")),
        }
    })
}

/// Waits until a group's counter or gauge, summed over its labels, is what it should be.
#[track_caller]
fn wait_for_metric(host: &Host, name: &str, group: &str, right: impl Fn(f64) -> bool) {
    wait::eventually_some(&format!("{name} of {group}"), TIMEOUT, || {
        let value = host.metrics().sum(name, &[("group", group)]);
        if right(value) {
            Ok(())
        } else {
            Err(format!("it was {value}"))
        }
    });
}
