//! What an operator asks for: a step back, an approval, a comparison; and who may not ask.

use std::fs;

use crate::harness::host::{Setup, command};
use crate::harness::kafka;
use crate::harness::main_flow::guest;
use crate::harness::versions::{
    Versioned, component, replace, state, wait_for_refusal, wait_for_version,
};

#[test]
fn a_step_back_returns_to_the_version_before_and_a_second_one_undoes_it() {
    let versioned = Versioned::new("back", 1);
    let (setup, file) = versioned.setup(
        &component("first...", Some("1.0.0")),
        "    reload: { watch: false }\n",
    );
    let host = setup.start();
    let admin = host.admin().to_string();
    let ask = |args: &[&str]| {
        let all = [&["plugin"], args, &["--admin", &admin, "--output", "json"]].concat();
        command(&all)
    };
    let refused = ask(&["back", "versioned"]).expect_code(1);
    assert!(
        refused.stderr.contains("no other version has served"),
        "{}",
        refused.stderr
    );

    replace(&file, &component("second..", Some("2.0.0")));
    let reloaded = ask(&["reload", "versioned"]).expect_code(0).json();
    assert_eq!(reloaded["version"], "2.0.0");
    assert_eq!(reloaded["previous"]["version"], "1.0.0");
    assert_eq!(versioned.stamp_of(1).json()["marker"], "second..");

    let back = ask(&["back", "versioned"]).expect_code(0).json();
    assert_eq!(back["version"], "1.0.0");
    assert_eq!(versioned.stamp_of(2).json()["marker"], "first...");
    ask(&["back", "versioned"]).expect_code(0);
    assert_eq!(versioned.stamp_of(3).json()["marker"], "second..");

    replace(&file, &component("refuses!", Some("3.0.0")));
    let refused = ask(&["reload", "versioned"]).expect_code(1);
    assert!(
        refused.stderr.contains("this version refuses to start"),
        "{}",
        refused.stderr
    );
    let listed = ask(&["list"]).expect_code(0).json();
    assert_eq!(listed[0]["version"], "2.0.0");
    let reason = listed[0]["refused"]["reason"].as_str().expect("text");
    assert!(reason.contains("this version refuses to start"), "{reason}");
    assert_eq!(
        host.metrics()
            .sum("millrace_plugin_versions_refused_total", &[]),
        1.0
    );
    let unknown = ask(&["reload", "nobody"]).expect_code(1);
    assert!(
        unknown.stderr.contains("there is no plugin nobody"),
        "{}",
        unknown.stderr
    );
    host.sigterm().expect_code(0);
}

#[test]
fn a_version_that_asks_for_more_serves_only_once_it_is_approved() {
    let versioned = Versioned::new("approve", 1);
    let first = component("first...", Some("1.0.0"));
    let (setup, file) = versioned.setup(&first, "    reload: { approve_grants: true }\n");
    let host = setup.start();

    // Another plugin altogether, which keeps a journal too.
    let more = fs::read(guest("witness")).expect("it is built");
    replace(&file, &more);
    let state_then = wait_for_refusal(&host, "asks for `journal`,");
    assert_eq!(state_then["version"], "1.0.0");
    assert_eq!(
        state_then["waiting"]["asks_for"],
        serde_json::json!(["journal"])
    );
    assert_eq!(versioned.stamp_of(1).json()["marker"], "first...");

    let digest = state_then["waiting"]["digest"].as_str().expect("text");
    let (status, answer) = host
        .post(&format!(
            "/v1/plugins/versioned/approve?digest={}",
            "0".repeat(64)
        ))
        .expect("the host answers");
    assert_eq!(status, 409, "{answer}");
    let admin = host.admin().to_string();
    let args = [
        "plugin",
        "approve",
        "versioned",
        "--digest",
        digest,
        "--admin",
        &admin,
    ];
    command(&args).expect_code(0);
    assert_eq!(state(&host)["digest"], digest);
    assert!(state(&host)["waiting"].is_null());

    // What asks for less than what serves needs nobody.
    let less = fs::read(guest("copy")).expect("it is built");
    replace(&file, &less);
    let digest = millrace::sandbox::digest_of(&less);
    wait_for_version(&host, &digest[..12]);
    host.sigterm().expect_code(0);
}

#[test]
fn nobody_from_outside_changes_anything() {
    let versioned = Versioned::new("outside", 1);
    let config = versioned.config(&guest("versioned"), "");
    let setup = Setup::new(kafka::shared(), &config);
    let everywhere = format!("admin.listen=0.0.0.0:{}", setup.admin().port());
    // Where others reach it, it does not start without a token, and nothing goes without showing that.
    let setup = setup.arg("--set").arg(&everywhere);
    let refused = setup.run_to_exit().expect_code(78);
    assert!(
        refused.stderr.contains("is no loopback address"),
        "{}",
        refused.stderr
    );
    let token = "admin.token=a-token-of-the-operators";
    let host = setup.arg("--set").arg(token).start();
    for request in ["reload", "back", "approve?digest=00"] {
        let path = format!("/v1/plugins/versioned/{request}");
        let (status, answer) = host.post(&path).expect("the host answers");
        assert_eq!(status, 401, "{request}: {answer}");
    }
    let (status, answer) = host.get("/v1/plugins").expect("the host answers");
    assert_eq!(status, 401, "nor is anything shown: {answer}");
    host.sigterm().expect_code(0);
}

#[test]
fn a_comparison_names_what_a_new_version_needs_and_ends_like_diff() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("the folder can be written");
        path.to_str().expect("text").to_owned()
    };
    let old = file("old.wasm", &component("first...", Some("1.0.0")));
    let newer = file("newer.wasm", &component("second..", Some("2.0.0")));
    let broken = file("broken.wasm", b"no component");
    let other = guest("witness");

    let same = command(&["plugin", "diff", &old, &old]).expect_code(0);
    assert_eq!(same.stdout, "the same component\n");
    let only_code = command(&["plugin", "diff", &old, &newer]).expect_code(1);
    assert!(
        only_code.stdout.starts_with("1.0.0 ("),
        "{}",
        only_code.stdout
    );
    assert!(
        only_code
            .stdout
            .contains("it imports, needs and exports the same"),
        "{}",
        only_code.stdout
    );
    command(&["plugin", "diff", &old, &broken]).expect_code(2);
    command(&["plugin", "diff", &old, "nowhere.wasm"]).expect_code(2);

    let config = file(
        "millrace.yaml",
        format!(
            "kafka: {{ brokers: localhost:1 }}\nplugins:\n  p: {{ path: {old}, grants: [config, tally] }}\n\
             groups:\n  - {{ id: g, routes: {{ t: p }}, dead_letter: {{ topic: d }}, store: s }}\n"
        )
        .as_bytes(),
    );
    let args = [
        "plugin", "diff", &old, &other, "--config", &config, "--plugin", "p",
    ];
    let told = command(&args).expect_code(1).stdout;
    for line in [
        "+ journal",
        "- state",
        "+ millrace:plugin/timer@0.1.0",
        "grants: journal",
    ] {
        assert!(told.contains(line), "{line:?} is not in:\n{told}");
    }
    assert!(!told.contains("grants: tally"), "it is granted:\n{told}");
    let json = command(&["plugin", "diff", &old, &other, "--json"])
        .expect_code(1)
        .json();
    assert_eq!(json["same"], false);
    assert_eq!(json["changes"][0]["added"], serde_json::json!(["journal"]));
}
