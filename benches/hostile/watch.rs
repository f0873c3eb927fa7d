//! What is seen of a host from outside while it works: how soon it answers, and how long its threads were kept
//! from running.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::shared::harness::host::Host;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The longest wait for an answer.
pub(crate) fn health(host: &Host, stop: &AtomicBool) -> Duration {
    let mut worst = Duration::ZERO;
    while !stop.load(Ordering::Acquire) {
        let asked = Instant::now();
        let (status, _) = host.get("/livez").expect("it answers");
        assert_eq!(status, 200);
        worst = worst.max(asked.elapsed());
        thread::sleep(LOOK_INTERVAL);
    }
    worst
}

/// The longest that threads of a name were ready to run and did not, between two looks.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Stalls {
    pub(crate) poll: Duration,
    pub(crate) settle: Duration,
    pub(crate) serve: Duration,
}

/// Looks at the host's threads until it is told to stop.
pub(crate) fn stalls(pid: u32, stop: &AtomicBool) -> Stalls {
    let threads = named_threads(pid);
    let mut waited: HashMap<&str, u64> = HashMap::new();
    let mut stalls = Stalls::default();
    while !stop.load(Ordering::Acquire) {
        for (path, name) in &threads {
            let Some(now) = waited_ns(path) else { continue };
            let before = waited.insert(path, now).unwrap_or(now);
            let stall = Duration::from_nanos(now - before);
            let worst = match name.as_str() {
                "poll" => &mut stalls.poll,
                "settle" => &mut stalls.settle,
                _ => &mut stalls.serve,
            };
            *worst = stall.max(*worst);
        }
        thread::sleep(LOOK_INTERVAL);
    }
    stalls
}

fn named_threads(pid: u32) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the host runs");
    let tasks = tasks.filter_map(|task| {
        let path = task.ok()?.path();
        let name = fs::read_to_string(path.join("comm"))
            .ok()?
            .trim()
            .to_owned();
        let ours = ["poll", "settle", "serve"].contains(&name.as_str());
        ours.then(|| (path.join("schedstat").to_string_lossy().into_owned(), name))
    });
    tasks.collect()
}

/// The time that a thread has waited for a processor, in nanoseconds.
fn waited_ns(path: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.split(' ').nth(1)?.trim().parse().ok()
}
