//! Each attack alone in one host, while another plugin's events flow through the same host.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::deeds::{ComesTo, DEEDS, Deed, events_of};
use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::load::{ENDLESS, Load, Plan};
use crate::harness::main_flow::{guest, origin};
use crate::harness::topic::{Record, Stored, Topic, unique};
use crate::harness::wait;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Events a second of the neighbour.
const NEIGHBOUR_RATE: u64 = 200;

/// What the deadline of a hostile event is; short, because the suite waits for it a dozen times.
const DEADLINE: &str = "500ms";

/// What an attack may cost the host: the plugin's own memory (64 MiB); records that wait for the broker (64 MiB), again in
/// the Kafka client's queue (64 MiB) and once more in its requests; and what the largest answers take while they are
/// lifted, checked and settled, in half a million parts at worst, with what the allocator keeps of it.
const RISE_MAX_BYTES: u64 = (64 + 256) << 20;

/// Log of the whole suite, in bytes. A hundred lines a second and plugin, of 1 KiB each, and what the host says.
const LOG_MAX_BYTES: u64 = 32 << 20;

struct Arena {
    setup: Setup,
    hostile: Topic,
    dead_letters: Topic,
    group: String,
    neighbour: Topic,
    neighbour_group: String,
    copies: Topic,
    neighbour_letters: Topic,
}

impl Arena {
    fn new() -> Self {
        let topic = |hint| Topic::create(kafka::shared(), hint, 1);
        let outputs = topic("hostile-outputs");
        let (hostile, dead_letters) = (topic("hostile"), topic("hostile-dlq"));
        let (neighbour, copies) = (topic("beside-hostile"), topic("beside-hostile-copies"));
        let neighbour_letters = topic("beside-hostile-dlq");
        let (group, neighbour_group) = (unique("hostile"), unique("beside-hostile"));
        let config = format!(
            r#"
plugins:
  hostile:
    path: {hostile_wasm}
    grants: [logging, config, metrics, state, tally, journal, "output:{outputs}"]
    config: {{ output: {outputs} }}
    journal: {{ path: hostile.journal }}
    tick: 24h
    limits: {{ deadline: {DEADLINE} }}
  copy:
    path: {copy_wasm}
    grants: [config, "output:{copies}"]
    config: {{ output: {copies}, host: a }}
groups:
  - id: {group}
    routes: {{ {hostile}: hostile }}
    dead_letter: {{ topic: {dead_letters} }}
    retry: {{ attempts: 1 }}
    store: store/hostile
    commit_interval: 50ms
  - id: {neighbour_group}
    routes: {{ {neighbour}: copy }}
    dead_letter: {{ topic: {neighbour_letters} }}
    store: store/neighbour
"#,
            hostile_wasm = guest("hostile"),
            copy_wasm = guest("copy"),
            outputs = outputs.name(),
            copies = copies.name(),
            hostile = hostile.name(),
            dead_letters = dead_letters.name(),
            neighbour = neighbour.name(),
            neighbour_letters = neighbour_letters.name(),
        );
        Self {
            setup: Setup::new(kafka::shared(), &config),
            hostile,
            dead_letters,
            group,
            neighbour,
            neighbour_group,
            copies,
            neighbour_letters,
        }
    }

    fn handle_one_that_is_well(&self) {
        self.hostile.produce(&[Record::new("well", "{}")]);
        self.hostile.wait_for_no_lag(&self.group, TIMEOUT);
    }

    /// Lets the plugin do a deed, and waits until its events have settled. Returns the dead letters.
    fn attack(&self, deed: &Deed) -> Vec<Stored> {
        let value = match deed.n {
            Some(n) => format!(r#"{{"do":"{}","n":{n}}}"#, deed.name),
            None => format!(r#"{{"do":"{}"}}"#, deed.name),
        };
        let letters_before = self.dead_letters.end_offsets();
        let record = Record::new(deed.name, value);
        let places = self.hostile.produce(&vec![record; events_of(deed)]);
        self.hostile.wait_for_no_lag(&self.group, TIMEOUT);
        let letters = self.dead_letters.read_from(&letters_before);
        for letter in &letters {
            assert!(
                places.contains(&origin(letter)),
                "{}: of another event",
                deed.name
            );
        }
        letters
    }
}

/// What one attack came to.
struct Seen {
    deed: &'static Deed,
    cause: String,
    wrong: Option<String>,
    took: Duration,
    rise_bytes: u64,
    readyz_worst: Duration,
}

fn judge(deed: &Deed, letters: &[Stored]) -> (String, Option<String>) {
    let told = |letter: &Stored, name: &str| {
        let header = letter.header(&format!("millrace.dlq.{name}"));
        header.unwrap_or_default().to_owned()
    };
    let Some(letter) = letters.first() else {
        let fine = matches!(deed.comes_to, ComesTo::Processed);
        let wrong = (!fine).then(|| "it was processed".to_owned());
        return ("processed".to_owned(), wrong);
    };
    let (cause, code) = (told(letter, "cause"), told(letter, "code"));
    let said = format!(
        "{} dead letters; {code}: {}",
        letters.len(),
        told(letter, "message")
    );
    let wrong = match deed.comes_to {
        ComesTo::Processed => Some(said),
        ComesTo::Dead(wanted, text) if cause != wanted || !said.contains(text) => Some(said),
        ComesTo::Dead(..) => None,
    };
    (cause, wrong)
}

/// The most memory that the host has held since the last call, in bytes.
fn forget_peak(host: &Host) -> u64 {
    // 5 resets the peak, see proc(5).
    fs::write(format!("/proc/{}/clear_refs", host.pid()), "5").expect("the host is ours");
    host.peak_memory_bytes()
}

/// Asks `/readyz` all the time, and remembers the longest wait for an answer.
struct Watch {
    worst: Arc<std::sync::Mutex<Duration>>,
    stop: Arc<AtomicBool>,
}

impl Watch {
    fn over<'s>(scope: &'s thread::Scope<'s, '_>, host: &'s Host) -> Self {
        let watch = Self {
            worst: Arc::default(),
            stop: Arc::default(),
        };
        let (worst, stop) = (Arc::clone(&watch.worst), Arc::clone(&watch.stop));
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let (status, body) = host.get("/readyz").expect("it answers");
                assert_eq!(status, 200, "{body}");
                let mut worst = worst.lock().expect("nobody panics with it");
                *worst = asked.elapsed().max(*worst);
                drop(worst);
                thread::sleep(Duration::from_millis(5));
            }
        });
        watch
    }

    fn take_worst(&self) -> Duration {
        std::mem::take(&mut *self.worst.lock().expect("nobody panics with it"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The table of docs/sandbox.md.
fn table(seen: &[Seen]) -> String {
    let mut table = String::from(
        "| fault | what was done | cause | settled after | memory rise | slowest `/readyz` |\n\
         | --- | --- | --- | ---: | ---: | ---: |\n",
    );
    for Seen {
        deed,
        cause,
        took,
        rise_bytes,
        readyz_worst,
        ..
    } in seen
    {
        let row = writeln!(
            table,
            "| {} | {} | {cause} | {:.1} s | {} MiB | {:.0} ms |",
            deed.fault,
            deed.about,
            took.as_secs_f64(),
            rise_bytes >> 20,
            readyz_worst.as_secs_f64() * 1_000.0,
        );
        row.expect("a string can be written");
    }
    table
}

fn attack_with_everything(arena: &Arena, host: &Host) -> Vec<Seen> {
    thread::scope(|scope| {
        let watch = Watch::over(scope, host);
        let attack = |(at, deed): (usize, &'static Deed)| {
            if at % 4 == 0 {
                // After sixteen faults in a row a new instance would wait.
                arena.handle_one_that_is_well();
            }
            let before = forget_peak(host);
            watch.take_worst();
            let began = Instant::now();
            let letters = arena.attack(deed);
            let (cause, wrong) = judge(deed, &letters);
            Seen {
                deed,
                cause,
                wrong,
                took: began.elapsed(),
                rise_bytes: host.peak_memory_bytes().saturating_sub(before),
                readyz_worst: watch.take_worst(),
            }
        };
        DEEDS.iter().enumerate().map(attack).collect()
    })
}

#[test]
fn no_attack_costs_more_than_its_own_events() {
    let arena = Arena::new();
    // What is compiled and warmed up is no cost of the first attack.
    let host = arena.setup.start();
    arena.handle_one_that_is_well();
    let plan = Plan::of(ENDLESS, 1).rate(NEIGHBOUR_RATE);
    let load = Load::start(&arena.neighbour, plan, arena.setup.folder().join("acks"));
    wait::eventually("the neighbour at work", TIMEOUT, || {
        arena.copies.end_offsets()[&0] > 0
    });

    let seen = attack_with_everything(&arena, &host);

    load.stop();
    arena
        .neighbour
        .wait_for_no_lag(&arena.neighbour_group, TIMEOUT);
    eprintln!("{}", table(&seen));
    let wrong: Vec<String> = seen.iter().filter_map(complaint).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for group in [&arena.group, &arena.neighbour_group] {
        host.metrics().assert_ledger_balanced(group);
    }
    host.sigterm().expect_code(0);
    assert_neighbour_undisturbed(&arena);
    assert_log_bounded(&arena);
}

fn complaint(seen: &Seen) -> Option<String> {
    let name = seen.deed.name;
    if let Some(wrong) = &seen.wrong {
        let wanted = seen.deed.comes_to;
        return Some(format!("{name}: {} ({wrong}), not {wanted:?}", seen.cause));
    }
    let rise = seen.rise_bytes;
    (rise > RISE_MAX_BYTES).then(|| format!("{name}: the host grew by {} MiB", rise >> 20))
}

fn assert_neighbour_undisturbed(arena: &Arena) {
    let mut copied: BTreeMap<i64, usize> = BTreeMap::new();
    for copy in arena.copies.read_all() {
        let value = copy.json();
        if let Some(offset) = value["offset"].as_i64() {
            *copied.entry(offset).or_default() += 1;
        }
    }
    let sent = arena.neighbour.end_offsets()[&0];
    let once: BTreeMap<i64, usize> = (0..sent).map(|offset| (offset, 1)).collect();
    assert_eq!(copied.len(), once.len(), "{sent} events of the neighbour");
    assert!(copied == once, "each event of the neighbour is copied once");
    assert!(arena.neighbour_letters.read_all().is_empty());
}

fn assert_log_bounded(arena: &Arena) {
    let log = arena.setup.folder().join("stderr.log");
    let bytes = log.metadata().expect("it is there").len();
    assert!(bytes < LOG_MAX_BYTES, "{} MiB of log", bytes >> 20);
    let text = fs::read_to_string(log).expect("it is text");
    // A panic of the host's own is reported by the standard library, which knows nothing of JSON.
    let own = text.lines().find(|line| !line.starts_with('{'));
    assert_eq!(own, None, "a thread of the host panicked");
    eprintln!("hostile: {} KiB of log", bytes >> 10);
}
