//! What a start costs: loading a plugin from the compile cache, and the memory of 500 plugins, each with an
//! instance. Ends with two tables, and fails where a promised bound does not hold.
//!
//! The 500 are real guests in turn, each with a custom section of its own, so that every digest is another and
//! nothing is shared. The first run compiles them, which takes minutes; later ones find them in the cache.

#![allow(missing_docs, reason = "a bench has no interface")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on ends, and its answer is what it prints"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millrace::config::{Grants, Plugin};
use millrace::sandbox::{Compiler, Instance, LoadedPlugin, Sandbox, SandboxSettings};

/// The guests whose loading is measured. All that is granted below is all that they import.
const GUESTS: [&str; 7] = [
    "analytics",
    "audit",
    "dead-letters",
    "copy",
    "counter-state",
    "rogue",
    "witness",
];

const LOADS_OF_EACH: usize = 100;

/// The promised bounds.
const LOAD_MAX: Duration = Duration::from_millis(10);
const PLUGINS: usize = 500;
const RESIDENT_MAX_MIB: u64 = 1_024;

fn component(name: &str) -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = format!("{name}.wasm");
    ["tests/guests/target", "plugins/dist"]
        .iter()
        .map(|folder| top.join(folder).join(&file))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{file} is not built: run `make plugins`"))
}

fn plugin(path: PathBuf) -> Plugin {
    Plugin {
        grants: Grants {
            logging: true,
            config: true,
            metrics: true,
            state: true,
            tally: true,
            journal: true,
            ..Grants::default()
        },
        ..Plugin::of_component(path)
    }
}

/// The component with a custom section that nobody reads.
fn with_section(component: &[u8], number: usize) -> Vec<u8> {
    let text = format!("number {number:08}");
    let mut bytes = component.to_vec();
    // Section 0, its length, the length of its name, and its name, without contents.
    bytes.extend([0, text.len() as u8 + 1, text.len() as u8]);
    bytes.extend(text.as_bytes());
    bytes
}

/// Resident memory of this process by its name in `/proc/self/status`, in MiB.
fn resident_mib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib >> 10
}

fn measure_loads(sandbox: &Sandbox) -> Duration {
    println!("| from the compile cache | component | median | worst of {LOADS_OF_EACH} |");
    println!("| --- | --- | --- | --- |");
    let mut slowest_median = Duration::ZERO;
    for name in GUESTS {
        let config = plugin(component(name));
        // The first one may have to compile it.
        drop(LoadedPlugin::load(sandbox, name, &config).unwrap());
        let mut took: Vec<Duration> = (0..LOADS_OF_EACH)
            .map(|_| {
                let began = Instant::now();
                drop(LoadedPlugin::load(sandbox, name, &config).unwrap());
                began.elapsed()
            })
            .collect();
        took.sort_unstable();
        let median = took[took.len() / 2];
        slowest_median = slowest_median.max(median);
        let kib = config.path.metadata().unwrap().len() >> 10;
        let worst = took[took.len() - 1];
        println!("| {name} | {kib} KiB | {median:.2?} | {worst:.2?} |");
    }
    slowest_median
}

fn measure_memory(sandbox: &Sandbox, folder: &Path) -> u64 {
    std::fs::create_dir_all(folder).unwrap();
    let guests = GUESTS.map(|name| std::fs::read(component(name)).unwrap());
    let mut plugins = BTreeMap::new();
    for number in 0..PLUGINS {
        let path = folder.join(format!("{number}.wasm"));
        std::fs::write(&path, with_section(&guests[number % guests.len()], number)).unwrap();
        plugins.insert(format!("p{number:03}"), plugin(path));
    }
    let before = resident_mib("VmRSS");
    let began = Instant::now();
    let loaded = LoadedPlugin::prepare_all(sandbox, &plugins).unwrap();
    let took = began.elapsed();
    let without_instances = resident_mib("VmRSS");
    let make = |plugin| Instance::new(plugin).unwrap();
    let instances: Vec<Instance> = loaded.values().map(make).collect();
    let parts = ["VmRSS", "RssAnon", "RssFile", "RssShmem"].map(resident_mib);
    println!("\n| {PLUGINS} plugins of distinct digests | MiB |");
    println!("| --- | --- |");
    println!("| before | {before} |");
    println!("| all ready, after {took:.1?} | {without_instances} |");
    println!("| with an instance each | {} |", parts[0]);
    println!("| of it anonymous | {} |", parts[1]);
    println!("| of it files | {} |", parts[2]);
    println!("| of it shared | {} |", parts[3]);
    drop(instances);
    parts[0]
}

fn main() {
    // cargo passes `--bench`; there is nothing to choose.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("load");
    let settings = SandboxSettings {
        compiler: Compiler::child(PathBuf::from(env!("CARGO_BIN_EXE_millrace"))),
        compile_cache: Some(folder.join("cache")),
        lanes: PLUGINS,
    };
    let sandbox = Sandbox::start(settings).unwrap();
    let median = measure_loads(&sandbox);
    let mib = measure_memory(&sandbox, &folder.join("components"));
    assert!(
        median <= LOAD_MAX,
        "loading took {median:?}, more than {LOAD_MAX:?}"
    );
    assert!(
        mib <= RESIDENT_MAX_MIB,
        "{PLUGINS} plugins take {mib} MiB, more than {RESIDENT_MAX_MIB}"
    );
}
