//! What the sandbox refuses to load, and that it says what to do about it.

use std::path::PathBuf;

use millrace::config::Plugin;
use millrace::sandbox::{Instance, LoadedPlugin};

use super::{Event, everything_granted, guest, instance, load, run, sandbox};

/// What loading says about a plugin named `under-test`.
#[track_caller]
fn refusal(config: &Plugin) -> String {
    match LoadedPlugin::load(sandbox(), "under-test", config) {
        Ok(_) => panic!("{} was loaded", config.path.display()),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

/// A file of these bytes, removed with the folder that comes with it.
fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("component.wasm");
    std::fs::write(&path, bytes).expect("the folder can be written");
    (folder, path)
}

fn refusal_of(bytes: &[u8]) -> String {
    let (_folder, path) = file(bytes);
    refusal(&everything_granted(path))
}

#[test]
fn a_missing_grant_is_named_with_the_place_to_add_it() {
    let mut config = everything_granted(guest("rogue"));
    config.grants.journal = false;
    assert_says(
        &refusal(&config),
        &[
            "millrace:plugin/journal@0.1.0",
            "add `journal` to plugins.under-test.grants",
        ],
    );
    config.grants.journal = true;
    config.grants.tally = false;
    assert_says(
        &refusal(&config),
        &["millrace:plugin/tally@0.1.0", "`tally`"],
    );

    let mut config = everything_granted(guest("counter-state"));
    config.grants.state = false;
    assert_says(
        &refusal(&config),
        &["millrace:plugin/state@0.1.0", "`state`"],
    );
}

#[test]
fn what_a_plugin_does_not_use_need_not_be_granted() {
    let mut config = everything_granted(guest("rogue"));
    (config.grants.metrics, config.grants.state) = (false, false);
    (config.grants.logging, config.grants.config) = (false, false);
    assert!(LoadedPlugin::load(sandbox(), "under-test", &config).is_ok());
}

#[test]
fn an_interface_that_the_host_does_not_have_is_named() {
    let message = refusal(&everything_granted(guest("wants-more")));
    assert_says(
        &message,
        &[
            "under-test",
            "elsewhere:moon/gravity@1.0.0",
            "does not have",
        ],
    );
}

#[test]
fn a_core_module_is_refused_with_the_way_to_make_a_component() {
    let message = refusal_of(b"\0asm\x01\0\0\0");
    assert_says(
        &message,
        &["is a core module, not a component", "wasm32-wasip2"],
    );
}

#[test]
fn compiled_machine_code_is_never_loaded() {
    let message = refusal_of(b"\x7fELF\x02\x01\x01\0and so on");
    assert_says(
        &message,
        &["compiled machine code", "give the .wasm component"],
    );
}

#[test]
fn what_is_no_component_at_all_is_refused() {
    assert_says(
        &refusal_of(b"{\"not\": \"wasm\"}"),
        &["is not a valid component"],
    );
    let whole = std::fs::read(guest("rogue")).expect("it can be read");
    let half = &whole[..whole.len() / 2];
    assert_says(&refusal_of(half), &["is not a valid component"]);
    // The text format, which wasmtime would take where that feature is on.
    assert_says(&refusal_of(b"(component)"), &["is not a valid component"]);
}

#[test]
fn an_empty_file_and_a_missing_one_are_told_apart() {
    assert_says(&refusal_of(b""), &["is empty"]);
    let nowhere = everything_granted(PathBuf::from("/nowhere/component.wasm"));
    assert_says(
        &refusal(&nowhere),
        &["cannot read /nowhere/component.wasm", "No such file"],
    );
}

#[test]
fn a_component_without_a_handler_is_refused_with_the_worlds_to_choose_from() {
    let message = refusal_of(b"\0asm\x0d\0\x01\0");
    assert_says(
        &message,
        &["exports neither", "batch-event-handler", "`handler`"],
    );
}

#[test]
fn component_size_obeyed() {
    let mut config = everything_granted(guest("rogue"));
    config.limits.component_bytes = size_of_file(&config.path);
    assert!(LoadedPlugin::load(sandbox(), "under-test", &config).is_ok());
}

#[test]
fn component_size_violated() {
    let mut config = everything_granted(guest("rogue"));
    let bytes = size_of_file(&config.path);
    config.limits.component_bytes = bytes - 1;
    let limit = (bytes - 1).to_string();
    assert_says(
        &refusal(&config),
        &[&bytes.to_string(), &limit, "limits.component_size"],
    );
}

fn size_of_file(path: &std::path::Path) -> u64 {
    path.metadata().expect("it is there").len()
}

#[test]
fn a_plugin_that_refuses_to_start_is_refused_in_its_own_words() {
    let plugin = load("refuses", |_| {});
    let message = Instance::new(&plugin).expect_err("it refuses").to_string();
    assert_says(
        &message,
        &["plugin refuses", "the setting `window` is missing"],
    );
}

#[test]
fn a_plugin_is_known_by_the_digest_of_its_file() {
    let plugin = load("rogue", |_| {});
    assert_eq!(plugin.digest.len(), 64);
    assert_eq!(plugin.digest, load("rogue", |_| {}).digest);
    assert_ne!(plugin.digest, load("one-at-a-time", |_| {}).digest);
}

#[test]
fn a_file_that_is_not_what_its_digest_says_is_refused_before_it_is_compiled() {
    let mut config = everything_granted(guest("rogue"));
    config.origin.digest = Some(load("rogue", |_| {}).digest.clone());
    assert!(LoadedPlugin::load(sandbox(), "under-test", &config).is_ok());
    let (_folder, path) = file(b"\0asm\x0d\0\x01\0 was exchanged");
    config.path = path;
    assert_says(
        &refusal(&config),
        &["has the digest sha256:", "is not used"],
    );
}

#[test]
fn what_a_plugin_uses_and_exports_is_known_before_it_runs() {
    let stateful = load("counter-state", |_| {});
    assert!(stateful.uses_state && !stateful.has_timer);
    let analytics = load("analytics", |_| {});
    assert!(analytics.has_timer && !analytics.uses_state);
}

#[test]
fn an_instance_without_events_is_never_called_and_one_with_events_keeps_its_memory() {
    let plugin = load("rogue", |_| {});
    let mut instance = instance(&plugin);
    for _ in 0..3 {
        let answer = run(&mut instance, &[Event::of_value(r#"{"do":"ok"}"#)]);
        assert!(answer.expect("it is handled").answers.is_empty());
    }
}
