//! What a release says of itself: the version of its tag, and all that is linked into the host.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::top;

#[test]
fn the_bill_of_materials_names_what_is_linked_and_nothing_that_only_tests_use() {
    let target = Command::new("rustc").args(["-vV"]).output();
    let target = target.expect("rustc can be started").stdout;
    let target = String::from_utf8_lossy(&target).into_owned();
    let target = target.lines().find_map(|line| line.strip_prefix("host: "));
    let output = Command::new(top().join("deploy/release/bill_of_materials.py"))
        .arg(target.expect("rustc says for what it compiles"))
        .current_dir(top())
        .output()
        .expect("python3 is there");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let bill: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(bill["bomFormat"], "CycloneDX");
    assert_eq!(
        bill["metadata"]["component"]["version"],
        env!("CARGO_PKG_VERSION")
    );
    let components = bill["components"].as_array().expect("a list");
    let mut names = BTreeSet::new();
    for component in components {
        let name = component["name"].as_str().expect("it has a name");
        names.insert(name);
        let licence = component["licenses"][0]["expression"].as_str();
        assert!(
            licence.is_some_and(|licence| !licence.is_empty()),
            "{name} has no licence"
        );
    }
    for linked in [
        "wasmtime",
        "rdkafka",
        "librdkafka",
        "openssl",
        "tonic",
        "redb",
    ] {
        assert!(names.contains(linked), "{linked} is missing");
    }
    // Of tests, of the build, and of macros.
    for other in [
        "criterion",
        "tempfile",
        "rcgen",
        "tonic-prost-build",
        "serde_derive",
    ] {
        assert!(!names.contains(other), "{other} is not linked");
    }
    let known: BTreeSet<&str> = bill["dependencies"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|each| each["ref"].as_str())
        .collect();
    let unknown = components.iter().filter_map(|each| each["purl"].as_str());
    let unknown: Vec<_> = unknown
        .filter(|purl| purl.starts_with("pkg:cargo/") && !known.contains(purl))
        .collect();
    assert!(
        unknown.is_empty(),
        "nothing is said of what these need: {unknown:?}"
    );
}

#[test]
fn a_release_is_made_of_a_tag_that_is_the_version_of_the_source() {
    let check = |tag: &str| {
        let output = Command::new("make")
            .args([
                "--no-print-directory",
                "check-release",
                &format!("TAG={tag}"),
            ])
            .current_dir(top())
            .output()
            .expect("make can be started");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (fine, said) = check("v999.0.0");
    assert!(!fine && said.contains("the tag is v999.0.0"), "{said}");
    // Until the section of the version is written, that is what is missing.
    let version = env!("CARGO_PKG_VERSION");
    let (fine, said) = check(&format!("v{version}"));
    assert!(
        fine || said.contains(&format!("no section '## [{version}]'")),
        "{said}"
    );
}
