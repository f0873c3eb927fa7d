//! Real components with damage: each is refused with a message, or is a component still and stays within its
//! limits. None crashes the process, and none holds it up.
//!
//! `MILLRACE_CORRUPTED` says how many; `make hostile` tries a thousand.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::sandbox::{Instance, LoadedPlugin};

use crate::harness::process::setting;
use crate::sandbox::{Event, everything_granted, guest, run, sandbox};

/// Each is compiled when it is still valid, which is what takes the time.
const COMPONENTS: u64 = 120;

/// Small ones, because a valid one is compiled.
const VICTIMS: [&str; 4] = ["one-at-a-time", "counter-state", "refuses", "audit"];

/// For one component, from the file to the end of its events, beside everything else on two cores.
const EACH_MAX: Duration = Duration::from_secs(30);

/// What the limits of what is still valid are.
const DEADLINE: Duration = Duration::from_millis(100);

/// Where the code and the data of a component are damaged; what is damaged decides how far it gets.
fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) -> &'static str {
    let at = |random: &mut fastrand::Rng, bytes: &[u8]| random.usize(..bytes.len());
    match random.u8(0..6) {
        0 => {
            let place = at(random, bytes);
            bytes[place] ^= 1 << random.u8(0..8);
            "a bit"
        }
        1 => {
            for _ in 0..random.usize(2..200) {
                let place = at(random, bytes);
                bytes[place] ^= 1 << random.u8(0..8);
            }
            "bits"
        }
        2 => {
            let place = at(random, bytes);
            bytes.truncate(place);
            "cut off"
        }
        3 => {
            let (one, other) = (at(random, bytes), at(random, bytes));
            bytes.swap(one, other);
            "two bytes swapped"
        }
        4 => {
            let (from, to) = (at(random, bytes), at(random, bytes));
            let len = random.usize(1..4_096).min(bytes.len() - from.max(to));
            bytes.copy_within(from..from + len, to);
            "a part copied over another"
        }
        _ => {
            let from = at(random, bytes);
            let len = random.usize(1..64).min(bytes.len() - from);
            bytes.drain(from..from + len);
            "a part missing"
        }
    }
}

/// What became of one component, by its last step.
fn try_out(path: PathBuf) -> &'static str {
    let mut config = everything_granted(path);
    config.limits.deadline = DEADLINE;
    let loaded = match LoadedPlugin::load(sandbox(), "damaged", &config) {
        Ok(loaded) => Arc::new(loaded),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return "refused when it was loaded";
        }
    };
    let mut instance = match Instance::new(&loaded) {
        Ok(instance) => instance,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return "refused when it was started";
        }
    };
    let events: Vec<Event> = ["{}", "fine", r#"{"do":"output"}"#]
        .map(Event::of_value)
        .into();
    for event in &events {
        if run(&mut instance, std::slice::from_ref(event)).is_err() {
            return "ended with a fault";
        }
    }
    match run(&mut instance, &events) {
        Ok(_) => "worked all the same",
        Err(_) => "ended with a fault",
    }
}

#[test]
fn a_damaged_component_is_refused_or_stays_within_its_limits() {
    let count = setting("MILLRACE_CORRUPTED").map(|count| count.parse().expect("a number"));
    let count: u64 = count.unwrap_or(COMPONENTS);
    let whole: Vec<Vec<u8>> = VICTIMS
        .iter()
        .map(|name| std::fs::read(guest(name)).expect("it can be read"))
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("damaged.wasm");
    let mut became: BTreeMap<&str, u64> = BTreeMap::new();
    let mut slowest = Duration::ZERO;
    for seed in 0..count {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = whole[seed as usize % whole.len()].clone();
        let how = damage(&mut bytes, &mut random);
        std::fs::write(&path, &bytes).expect("the folder can be written");
        let began = Instant::now();
        let end = std::panic::catch_unwind(|| try_out(path.clone()));
        let end = end.unwrap_or_else(|_| panic!("seed {seed} ({how}): the host panicked"));
        let took = began.elapsed();
        assert!(took < EACH_MAX, "seed {seed} ({how}): {took:?}");
        slowest = slowest.max(took);
        *became.entry(end).or_default() += 1;
    }
    eprintln!("corrupted: {count} components, the slowest took {slowest:.1?}: {became:?}");
    assert!(became.contains_key("refused when it was loaded"));
}

#[test]
fn a_file_of_500_megabytes_is_refused_without_being_read() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("large.wasm");
    let file = File::create(&path).expect("the folder can be written");
    file.write_at(b"\0asm\x0d\0\x01\0", 0)
        .expect("it can be written");
    // Sparse: it takes no room on the disk.
    file.set_len(500 << 20).expect("it can be made longer");
    let began = Instant::now();
    let error = LoadedPlugin::load(sandbox(), "large", &everything_granted(path));
    let message = error.expect_err("it is refused").to_string();
    assert!(
        message.contains("524288000 bytes") && message.contains("limits.component_size"),
        "{message}"
    );
    assert!(began.elapsed() < Duration::from_secs(5), "it was read");
}
