//! Another configuration for a host that runs: what it concerns starts again without losing or repeating an event, what
//! it does not concern is not disturbed, and what is refused changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::Value;

use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::main_flow::guest;
use crate::harness::topic::{Record, Topic, unique};
use crate::harness::wait;

/// How often each event was copied, by partition and offset.
type Copied = BTreeMap<(i64, i64), usize>;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Groups of copiers of one topic, each with a plugin of its own.
struct Copying {
    source: Topic,
    copies: Topic,
    base: String,
}

impl Copying {
    fn new(hint: &str) -> Self {
        Self {
            source: Topic::create(kafka::shared(), hint, 2),
            copies: Topic::create(kafka::shared(), &format!("{hint}-copies"), 2),
            base: unique(hint),
        }
    }

    fn group(&self, name: &str) -> String {
        format!("{}.{name}", self.base)
    }

    /// Plugins and groups of these names, whose copies say so; further settings of a group follow its name.
    fn config(&self, groups: &[(&str, &str, &str)]) -> String {
        let plugins: String = groups
            .iter()
            .map(|(name, says, _)| {
                format!(
                    "  {name}:\n    path: {guest}\n    grants: [config, \"output:{copies}\"]\n    \
                     config: {{ output: {copies}, host: {says} }}\n",
                    guest = guest("copy"),
                    copies = self.copies.name(),
                )
            })
            .collect();
        let groups: String = groups
            .iter()
            .map(|(name, _, settings)| {
                format!(
                    "  - {{ id: {id}, routes: {{ {source}: {name} }}, store: store-{name}{settings} }}\n",
                    id = self.group(name),
                    source = self.source.name(),
                )
            })
            .collect();
        format!("plugins:\n{plugins}groups:\n{groups}")
    }

    fn setup(&self, groups: &[(&str, &str, &str)]) -> Setup {
        Setup::new(kafka::shared(), &self.config(groups))
    }

    fn produce(&self, events: usize) {
        let events = (0..events).map(|n| Record::new(format!("k{}", n % 20), "{}"));
        self.source.produce(&events.collect::<Vec<_>>());
    }

    fn settle(&self, name: &str) {
        self.source.wait_for_no_lag(&self.group(name), TIMEOUT);
    }

    /// By what the copies say: how often each event was copied. What closed a partition stands apart, by the same.
    fn copied(&self) -> (BTreeMap<String, Copied>, Vec<String>) {
        let (mut copied, mut closed) = (BTreeMap::new(), Vec::new());
        for copy in self.copies.read_all() {
            let copy = copy.json();
            let says = copy["host"].as_str().expect("a text").to_owned();
            if copy.get("closed").is_some() {
                closed.push(says);
                continue;
            }
            let number = |name: &str| copy[name].as_i64().expect("a number");
            let of: &mut Copied = copied.entry(says).or_default();
            *of.entry((number("partition"), number("offset")))
                .or_insert(0) += 1;
        }
        (copied, closed)
    }

    fn events(&self) -> usize {
        let ends = self.source.end_offsets();
        usize::try_from(ends.values().sum::<i64>()).expect("a number")
    }

    /// Every event was copied once by this group, whose plugin said these one after the other.
    fn assert_copied_once(&self, says: &[&str]) {
        let (copied, _) = self.copied();
        let mut all = Copied::new();
        for (place, times) in says.iter().filter_map(|says| copied.get(*says)).flatten() {
            *all.entry(*place).or_insert(0) += times;
        }
        assert_eq!(all.len(), self.events(), "{says:?}: none is lost");
        assert!(all.values().all(|times| *times == 1), "{says:?}: {all:?}");
    }
}

/// The configuration of a setup with another text in the place of some of it.
fn rewrite(setup: &Setup, from: &str, to: &str) {
    let before = fs::read_to_string(setup.config_file()).expect("it is there");
    let after = before.replace(from, to);
    assert_ne!(before, after, "{from}");
    setup.write_config(&after);
}

fn successful(host: &Host) -> f64 {
    host.metrics()
        .sum("millrace_config_last_reload_successful", &[])
}

/// Waits until the log has so many lines with this message, and returns the last.
#[track_caller]
fn told(host: &Host, message: &str, times: usize) -> Value {
    wait::eventually_some(message, TIMEOUT, || {
        let mut lines = host.log();
        lines.retain(|line| line.to_string().contains(message));
        match lines.len() {
            found if found < times => Err(format!("{found} times")),
            found => {
                assert_eq!(found, times, "{message}: {lines:?}");
                Ok(lines.pop().unwrap_or_default())
            }
        }
    })
}

const SERVES: &str = "the configuration serves";
const REFUSED: &str = "the new configuration is refused";

#[test]
fn a_setting_that_changes_serves_after_a_hangup_and_disturbs_no_other_group() {
    let copying = Copying::new("hangup");
    let setup = copying.setup(&[("changed", "before", ""), ("kept", "kept", "")]);
    let host = setup.start();
    copying.produce(400);
    copying.settle("changed");
    copying.settle("kept");
    let flood = std::thread::spawn({
        let source = copying.source.clone();
        move || {
            for _ in 0..20 {
                let events = (0..50).map(|n| Record::new(format!("k{}", n % 20), "{}"));
                source.produce(&events.collect::<Vec<_>>());
            }
        }
    });
    rewrite(&setup, "host: before", "host: after");
    host.hangup();
    told(&host, SERVES, 1);
    flood.join().expect("all are produced");
    copying.produce(100);
    copying.settle("changed");
    copying.settle("kept");
    let (copied, closed) = copying.copied();
    assert!(copied.contains_key("after"), "the new setting serves");
    assert!(
        closed.contains(&"before".to_owned()) && !closed.contains(&"kept".to_owned()),
        "partitions were given up by {closed:?}"
    );
    copying.assert_copied_once(&["before", "after"]);
    copying.assert_copied_once(&["kept"]);
    assert_eq!(successful(&host), 1.0);
    for name in ["changed", "kept"] {
        host.metrics().assert_ledger_balanced(&copying.group(name));
    }

    let exit = host.sigterm().expect_code(0);
    let summary = exit.json();
    let groups = summary["groups"].as_array().expect("a list");
    for group in groups {
        // What was read and not begun when the group left was read again.
        assert_eq!(group["total"]["processed"], copying.events(), "{summary}");
    }
    assert_eq!(groups.len(), 2, "{summary}");
}

#[test]
fn a_configuration_that_cannot_be_taken_up_is_refused_whole_and_the_one_before_serves() {
    let copying = Copying::new("refused");
    let setup = copying.setup(&[("copier", "before", "")]);
    let host = setup.start();
    let good = fs::read_to_string(setup.config_file()).expect("it is there");
    let after = good.replace("host: before", "host: after");
    fs::write(setup.folder().join("broken.wasm"), "no component").expect("it can be written");
    let broken = format!("{}/broken.wasm", setup.folder().display());
    let bad = [
        (after.replace("groups:", "gruops:"), "`gruops`"),
        (
            after.clone() + "drain_timeout: 3s\ncorrelation: { header: x }\n",
            "`correlation`, `drain_timeout` cannot change while the host runs",
        ),
        (
            after.replace(&guest("copy"), &broken),
            "is not a valid component",
        ),
        (after.replace("store-copier", "broken.wasm"), "broken.wasm"),
    ];
    for (at, (text, why)) in bad.iter().enumerate() {
        setup.write_config(text);
        let line = told(&host, REFUSED, at + 1).to_string();
        assert!(line.contains(why), "{why}: {line}");
        assert_eq!(successful(&host), 0.0, "{why}");
        let (status, ready) = host.get("/readyz?verbose").expect("the host answers");
        assert!(ready.contains(why), "{status} {ready}");
        copying.produce(20);
        copying.settle("copier");
    }
    copying.assert_copied_once(&["before"]);
    let (copied, _) = copying.copied();
    assert_eq!(copied.len(), 1, "nothing of them was applied");

    setup.write_config(&after);
    told(&host, SERVES, 1);
    assert_eq!(successful(&host), 1.0);
    copying.produce(20);
    copying.settle("copier");
    copying.assert_copied_once(&["before", "after"]);
    host.sigterm().expect_code(0);
}

#[test]
fn a_mounted_folder_that_is_exchanged_starts_groups_and_ends_others() {
    let copying = Copying::new("mounted");
    let setup = copying.setup(&[("first", "first", ""), ("kept", "kept", "")]);
    let text = fs::read_to_string(setup.config_file()).expect("it is there");
    let folder = setup.folder();
    // As Kubernetes mounts a ConfigMap: the file is a link through `..data`, which is exchanged.
    let exchange = |name: &str, text: &str| {
        fs::create_dir_all(folder.join(name)).expect("the folder can be made");
        fs::write(folder.join(name).join("millrace.yaml"), text).expect("it can be written");
        symlink(name, folder.join("..data_tmp")).expect("a link can be made");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("it can be moved");
    };
    exchange("..1", &text);
    fs::remove_file(setup.config_file()).expect("it is there");
    symlink("..data/millrace.yaml", setup.config_file()).expect("a link can be made");
    let host = setup.start();
    copying.produce(50);
    copying.settle("first");

    let own = |text: &str| {
        text.lines()
            .skip_while(|line| !line.starts_with("kafka:"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let next = copying.config(&[
        ("kept", "kept", ""),
        ("second", "second", ", concurrency: 3"),
    ]);
    exchange("..2", &(next + &own(&text)));
    fs::remove_dir_all(folder.join("..1")).expect("the old one can be removed");
    told(&host, SERVES, 1);
    copying.produce(50);
    copying.settle("second");
    copying.settle("kept");
    copying.assert_copied_once(&["second"]);
    copying.assert_copied_once(&["kept"]);
    let (copied, closed) = copying.copied();
    assert_eq!(copied["first"].len(), 50, "it had left");
    assert!(!closed.contains(&"kept".to_owned()), "{closed:?}");
    let metrics = host.metrics();
    let served = metrics.select("millrace_plugin_info", &[]);
    assert_eq!(served.len(), 2, "{served:?}");

    let summary = host.sigterm().expect_code(0).json();
    assert_eq!(
        summary["groups"].as_array().map(Vec::len),
        Some(3),
        "{summary}"
    );
}

#[test]
fn a_hangup_without_a_change_changes_nothing() {
    let copying = Copying::new("same");
    let setup = copying.setup(&[("copier", "copier", "")]);
    let host = setup.start();
    host.hangup();
    told(&host, "the configuration is as it was", 1);
    copying.produce(20);
    copying.settle("copier");
    let (_, closed) = copying.copied();
    assert!(closed.is_empty(), "{closed:?}");
    host.sigterm().expect_code(0);
}
