//! Versions of a plugin that are replaced while events flow: every event is handled by exactly one, and what does
//! not work serves nobody.

mod flow;
mod requests;
mod trials;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::topic::Record;
use crate::harness::versions::{
    SERVES_TIMEOUT, Versioned, component, replace, state, wait_for_refusal, wait_for_version,
};
use crate::harness::wait;

#[test]
fn a_file_that_is_half_written_is_refused_and_serves_when_it_is_whole() {
    let versioned = Versioned::new("half", 1);
    let (setup, file) = versioned.setup(&component("first...", Some("1.0.0")), "");
    let host = setup.start();

    let next = component("second..", Some("2.0.0"));
    let (half, rest) = next.split_at(next.len() / 2);
    let mut written = fs::File::create(&file).expect("it can be written");
    written.write_all(half).expect("it can be written");
    wait_for_refusal(&host, "is not a valid component");
    assert_eq!(state(&host)["version"], "1.0.0");
    assert_eq!(versioned.stamp_of(1).json()["marker"], "first...");

    written.write_all(rest).expect("it can be written");
    wait_for_version(&host, "2.0.0");
    assert_eq!(versioned.stamp_of(2).json()["marker"], "second..");
    host.sigterm().expect_code(0);
}

#[test]
fn a_mounted_folder_that_is_exchanged_as_kubernetes_does_is_seen() {
    let versioned = Versioned::new("mounted", 1);
    let config = versioned.config("mounted/plugin.wasm", "");
    let setup = Setup::new(kafka::shared(), &config);
    let mounted = setup.folder().join("mounted");
    let exchange = |name: &str, bytes: &[u8]| {
        fs::create_dir_all(mounted.join(name)).expect("the folder can be made");
        fs::write(mounted.join(name).join("plugin.wasm"), bytes).expect("it can be written");
        symlink(name, mounted.join("..data_tmp")).expect("a link can be made");
        fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).expect("it can be moved");
    };
    exchange("..1", &component("first...", None));
    symlink("..data/plugin.wasm", mounted.join("plugin.wasm")).expect("a link can be made");
    let host = setup.start();
    assert_eq!(versioned.stamp_of(1).json()["marker"], "first...");

    exchange("..2", &component("second..", Some("2.0.0")));
    fs::remove_dir_all(mounted.join("..1")).expect("the old one can be removed");
    wait_for_version(&host, "2.0.0");
    assert_eq!(versioned.stamp_of(2).json()["marker"], "second..");
    host.sigterm().expect_code(0);
}

#[test]
fn outputs_dead_letters_and_figures_say_which_version_it_was() {
    let versioned = Versioned::new("which", 1);
    let (setup, file) = versioned.setup(&component("first...", None), "");
    let host = setup.start();
    let first = state(&host);
    let digest = first["digest"].as_str().expect("text").to_owned();
    assert_eq!(
        first["version"],
        digest[..12],
        "it has no version of its own"
    );
    let output = versioned.stamp_of(1);
    assert_eq!(
        output.header("millrace.plugin"),
        Some(format!("versioned@{}", &digest[..12]).as_str())
    );
    assert_eq!(output.header("millrace.plugin.digest"), Some(&digest[..12]));

    replace(&file, &component("second..", Some("2.0.0")));
    wait_for_version(&host, "2.0.0");
    let digest = state(&host)["digest"].as_str().expect("text").to_owned();
    let output = versioned.stamp_of(2);
    assert_eq!(output.header("millrace.plugin"), Some("versioned@2.0.0"));
    assert_eq!(output.header("millrace.plugin.digest"), Some(&digest[..12]));
    let rejected = json!({ "id": 3, "do": "reject" }).to_string();
    versioned.source.produce(&[Record::keyless(rejected)]);
    let letter = wait::eventually_some("a dead letter", SERVES_TIMEOUT, || {
        versioned
            .dead_letters
            .read_all()
            .pop()
            .ok_or("there is none")
    });
    let told = |name: &str| letter.header(&format!("millrace.dlq.plugin.{name}"));
    assert_eq!(told("version"), Some("2.0.0"));
    assert_eq!(told("digest"), Some(digest.as_str()));

    let metrics = host.metrics();
    let info = metrics.select("millrace_plugin_info", &[]);
    assert_eq!(info.len(), 1, "only what serves: {info:?}");
    let labels = [
        ("plugin", "versioned"),
        ("version", "2.0.0"),
        ("digest", digest.as_str()),
    ];
    assert_eq!(metrics.sum("millrace_plugin_info", &labels), 1.0);
    let events = |version: &str| {
        let labels = [("plugin", "versioned"), ("version", version)];
        metrics.sum("millrace_plugin_version_events_total", &labels)
    };
    let first = first["version"].as_str().expect("text");
    assert_eq!((events(first), events("2.0.0")), (1.0, 2.0));
    host.sigterm().expect_code(0);
}

#[test]
fn an_event_that_waits_for_a_retry_runs_with_the_version_that_serves_then() {
    let versioned = Versioned::new("waits", 1);
    let (setup, file) = versioned.setup(&component("first...", Some("1.0.0")), "");
    let config = fs::read_to_string(setup.config_file()).expect("it is there");
    setup.write_config(&config.replace("initial: 100ms", "initial: 8s, jitter: 0"));
    let host = setup.start();
    let once = json!({ "id": 1, "do": "retry", "times": 1 }).to_string();
    versioned.source.produce(&[Record::keyless(once)]);
    wait::eventually("an event that waits", SERVES_TIMEOUT, || {
        host.metrics().sum("millrace_events_parked", &[]) > 0.0
    });

    replace(&file, &component("second..", Some("2.0.0")));
    wait_for_version(&host, "2.0.0");
    let parked = host.metrics().sum("millrace_events_parked", &[]);
    assert_eq!(parked, 1.0, "it waits while the version is replaced");
    versioned.wait_until_committed();
    let stamps = versioned.stamps();
    let stamp = stamps[&1][0].json();
    assert_eq!(
        (&stamp["marker"], &stamp["attempt"]),
        (&json!("second.."), &json!(2))
    );
    host.sigterm().expect_code(0);
}
