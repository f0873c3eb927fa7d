//! The JSON Schema of the configuration, as `millrace schema` prints it and an editor would hold files against it.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use super::host::BINARY;
use super::{process, yaml};

/// What the command prints.
pub(crate) fn printed() -> Value {
    let output = process::tethered(BINARY)
        .arg("schema")
        .output()
        .expect("the binary can be started");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

/// What an editor would mark in a configuration.
pub(crate) fn marks(text: &str) -> Vec<String> {
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
        let schema = printed();
        jsonschema::draft202012::meta::validate(&schema).expect("it is a JSON Schema");
        jsonschema::validator_for(&schema).expect("it can be compiled")
    });
    let document = yaml::parse_typed(text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
    let errors = VALIDATOR.iter_errors(&document);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// Checks that an editor would mark nothing.
///
/// # Panics
/// With what it would mark.
#[track_caller]
pub(crate) fn expect_accepted(what: &str, text: &str) {
    let marks = marks(text);
    assert!(marks.is_empty(), "{what}: {marks:#?} in\n{text}");
}
