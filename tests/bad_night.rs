//! An operator's bad night: a new version of a plugin refuses what the old one took. It shows on the page and in an alert;
//! the failures are one cluster; the next version is tried on them before anything is put back; and in the end every
//! event has been handled once and nothing is left. `make screenshots` lets it write pictures for the documentation.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::host::{Host, Setup, command};
use crate::harness::main_flow::summary;
use crate::harness::prometheus::Prometheus;
use crate::harness::topic::Record;
use crate::harness::versions::{Versioned, component, replace};
use crate::harness::{process, wait};

const TIMEOUT: Duration = Duration::from_secs(90);

/// Events of each produce.
const EVENTS: u64 = 100;

struct Night {
    versions: Versioned,
    setup: Setup,
    file: PathBuf,
    host: Host,
    /// Events that were published.
    events: u64,
}

impl Night {
    fn new() -> Self {
        let versions = Versioned::new("night", 2);
        let (setup, file) = versions.setup(&component("original", Some("1.0.0")), "");
        let host = setup.start();
        Self {
            versions,
            setup,
            file,
            host,
            events: 0,
        }
    }

    fn publish(&mut self) {
        let ids = self.events..self.events + EVENTS;
        let event = |id: u64| {
            let value = json!({ "id": id, "do": "plain" }).to_string();
            Record::new(format!("customer-{}", id % 10), value)
        };
        let events: Vec<Record> = ids.map(event).collect();
        self.versions.source.produce(&events);
        self.events += EVENTS;
    }

    /// Puts another version in the place of the one that serves, as a deployment does.
    fn deploy(&self, marker: &str, version: &str) {
        replace(&self.file, &component(marker, Some(version)));
        wait::eventually("a version that serves", TIMEOUT, || {
            let answer = self.host.get("/v1/plugins");
            answer.is_ok_and(|(_, body)| {
                let told: Value = serde_json::from_str(&body).unwrap_or_default();
                told[0]["version"] == version
            })
        });
    }

    /// What a command of `millrace dlq` answers.
    fn dlq(&self, args: &[&str]) -> Value {
        let config = self.setup.config_file();
        let config = config.to_str().expect("the path is text");
        let exit = command(&[&["dlq"], args, &["-c", config, "--output", "json"]].concat());
        assert_eq!(exit.code, Some(0), "{args:?}: {}", exit.stderr);
        exit.json()
    }
}

/// Whether an alert fires for the group.
fn fires(prometheus: &Prometheus, alert: &str, group: &str) -> bool {
    let alerts =
        format!("ALERTS{{alertname=\"{alert}\", group=\"{group}\", alertstate=\"firing\"}}");
    !prometheus.query(&alerts).is_empty()
}

#[test]
fn a_version_that_refuses_everything_is_seen_understood_mended_and_leaves_nothing_behind() {
    let mut night = Night::new();
    let group = night.versions.group.clone();
    let prometheus = Prometheus::watching(night.host.admin());
    let browser = Browser::start();
    browser.looks_like((1_280, 900), "dark");
    browser.open(&format!("http://{}/", night.host.admin()));
    night.publish();
    night.versions.wait_until_committed();
    let pictures = process::setting("MILLRACE_SCREENSHOTS").map(PathBuf::from);
    let picture = |name: &str| {
        if let Some(folder) = &pictures {
            picture_of(&browser, &folder.join(name));
        }
    };

    // Somebody deploys, and it goes wrong.
    night.deploy("rejects!", "1.1.0");
    wait::eventually("an alert", TIMEOUT, || {
        night.publish();
        fires(&prometheus, "MillraceDeadLetters", &group)
    });
    night.versions.wait_until_committed();
    let refused = night.events - EVENTS;
    let attention = format!("Dead letters of {group}");
    browser.wait_for(&[&attention, "rise: ", "; reject.", "Look at them"]);
    picture("night-overview.png");

    // All of it is one thing.
    let clusters = night.dlq(&["clusters"]);
    let [cluster] = &clusters["clusters"].as_array().expect("a list")[..] else {
        panic!("{clusters}");
    };
    assert_eq!(
        (&cluster["count"], &cluster["cause"]),
        (&json!(refused), &json!("reject"))
    );
    assert_eq!(cluster["message"], "this version rejects");
    let signature = cluster["signature"].as_str().expect("a text").to_owned();
    browser.script("location.hash = '#letters'");
    let shown = format!("{} × reject", as_the_page_writes(refused));
    browser.wait_for(&[&shown, "this version rejects"]);
    picture("night-letters.png");

    // The version that serves would only fail again; the next one does not.
    let serving = night.file.to_str().expect("the path is text");
    let redrive = ["redrive", "--signature", &signature, "--if-fixed-by"];
    let tried = night.dlq(&[&redrive[..], &[serving, "--dry-run"]].concat());
    assert_eq!(tried["stayed"], json!({ "still-failing": refused }));
    let mended = night.setup.folder().join("mended.wasm");
    std::fs::write(&mended, component("mended!!", Some("1.1.1"))).expect("it can be written");
    let mended = mended.to_str().expect("the path is text");
    let tried = night.dlq(&[&redrive[..], &[mended, "--dry-run"]].concat());
    assert_eq!(tried["redriven"], refused, "{tried}");

    // It serves, and what failed is put back.
    night.deploy("mended!!", "1.1.1");
    let done = night.dlq(&[&redrive[..], &[mended, "--rate", "2000/s"]].concat());
    assert_eq!(done["redriven"], refused, "{done}");
    night.versions.wait_until_committed();
    nothing_is_left(&night, refused);
    browser.wait_for(&[&format!("{} of them put back", as_the_page_writes(refused))]);
    picture("night-over.png");
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // The books close: what was read is what became of it.
    let read = summary(&night.host.sigterm().expect_code(0), &group);
    assert_eq!(read["polled"], night.events + refused, "{read:?}");
    assert_eq!(read["processed"], night.events, "{read:?}");
    assert_eq!(read["dead"], refused, "{read:?}");
}

/// Every event has its one output, and no dead letter is open.
fn nothing_is_left(night: &Night, refused: u64) {
    let stamps = night.versions.stamps();
    let ids: BTreeSet<u64> = stamps.keys().copied().collect();
    assert_eq!(ids, (0..night.events).collect());
    assert!(stamps.values().all(|of_one| of_one.len() == 1));
    let open = night.dlq(&["clusters", "--open"]);
    assert_eq!(open["clusters"], json!([]), "{refused} were put back");
}

fn as_the_page_writes(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", number / 1_000, number % 1_000),
    }
}

/// What is seen, once the charts have something to draw.
fn picture_of(browser: &Browser, file: &Path) {
    std::thread::sleep(Duration::from_secs(4));
    browser.picture(file);
}
