//! Go: the stock compiler makes a core module, and the SDK in it speaks the contract's own binary form, so that no
//! generator of bindings is needed.

use std::ffi::{OsStr, OsString};

use super::componentize::{self, Made};
use super::tool::Tool;
use super::{BuildError, Work, adapter};

const GO: Tool = Tool {
    program: "go",
    beside: &[],
    version: &["version"],
    // `go:wasmexport`.
    least: Some([1, 24]),
    install: "apt-get install golang-go   (1.24 or later; or from https://go.dev/dl)",
};

/// Optional exports of the contract, and what makes the SDK have them.
const TAGS: [(&str, &str); 2] = [
    ("millrace:plugin/timer", "millrace_timer"),
    ("millrace:plugin/lifecycle", "millrace_lifecycle"),
];

pub(super) fn build(work: &Work<'_>) -> Result<Made, BuildError> {
    let go = GO.find(work)?;
    let world = componentize::world(work)?;
    let core = work.between()?.join("core.wasm");
    let tags = world.marks(&TAGS).join(",");
    let arguments = [
        OsString::from("build"),
        "-buildmode=c-shared".into(),
        "-buildvcs=false".into(),
        "-trimpath".into(),
        // Symbols are a third of the size, and what a panic says does not need them.
        "-ldflags=-s -w".into(),
        format!("-tags={tags}").into(),
        "-o".into(),
        core.clone().into(),
        ".".into(),
    ];
    let env = [("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOWORK", "off")];
    work.run(
        &go,
        &arguments,
        &env.map(|(name, value)| (name, OsStr::new(value))),
    )?;
    Ok(Made::core(core, adapter::bytes()?))
}
