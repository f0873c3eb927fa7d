//! Plugins and candidates that do not load within their grants, as `millrace validate` tells of them.

use crate::harness::host::command;
use crate::harness::main_flow::guest;
use crate::harness::process;

#[test]
fn every_plugin_and_candidate_that_does_not_load_within_its_grants_is_told_of_at_once() {
    let folder = process::folder("unusable");
    std::fs::write(folder.join("torn.wasm"), b"\0asm\x0d\0\x01\0torn").expect("it can be written");
    let copy = guest("copy");
    let config = format!(
        "kafka: {{ brokers: b }}\nplugins:\n  ungranted: {{ path: {copy} }}\n  torn: {{ path: torn.wasm }}\n  \
         tried: {{ path: {copy}, grants: [config, \"output:o\"], config: {{ output: o, host: h, wait_us: 0, down_ms: \
         \"\" }}, canary: {{ path: torn.wasm, share: 5% }} }}\n\
         groups: [{{ id: g, routes: {{ t: tried }}, store: s }}]\n"
    );
    let file = folder.join("millrace.yaml");
    std::fs::write(&file, config).expect("it can be written");
    let exit = command(&["validate", "-c", &file.display().to_string()]).expect_code(78);
    assert_eq!(exit.stdout, "");
    let told = |part: &str| {
        exit.stderr
            .lines()
            .filter(|line| line.contains(part))
            .count()
    };
    assert_eq!(
        told("add `config` to plugins.ungranted.grants"),
        1,
        "{}",
        exit.stderr
    );
    assert_eq!(told("plugin torn: "), 1, "{}", exit.stderr);
    assert_eq!(told("plugin tried: "), 1, "{}", exit.stderr);
}
