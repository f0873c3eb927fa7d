//! Rust: cargo makes the component by itself, for `wasm32-wasip2`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::componentize::Made;
use super::tool::Tool;
use super::{BuildError, Work};

const TARGET: &str = "wasm32-wasip2";

const CARGO: Tool = Tool {
    program: "cargo",
    beside: &[],
    version: &["--version"],
    // Edition 2024, and the SDK.
    least: Some([1, 95]),
    install: "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh   (or: rustup update stable)",
};

pub(super) fn build(work: &Work<'_>) -> Result<Made, BuildError> {
    let cargo = CARGO.find(work)?;
    has_target(work)?;
    let arguments = [
        "build",
        "--release",
        "--target",
        TARGET,
        "--message-format",
        "json-render-diagnostics",
    ];
    let said = work.run(&cargo, &arguments, &[])?;
    let component = component_in(&said).ok_or_else(|| BuildError::NothingMade {
        path: PathBuf::from("component"),
        advice: "Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\", \"rlib\"]`".to_owned(),
    })?;
    Ok(Made::file(component))
}

/// The last `.wasm` file that cargo says it made; dependencies come first.
fn component_in(said: &[u8]) -> Option<PathBuf> {
    let said = String::from_utf8_lossy(said);
    let artifacts = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact");
    let files = artifacts.flat_map(|message| message["filenames"].as_array().cloned());
    files
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .rfind(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        })
}

fn has_target(work: &Work<'_>) -> Result<(), BuildError> {
    let missing = || BuildError::ToolMissing {
        tool: format!("the Rust target {TARGET}"),
        install: format!("rustup target add {TARGET}"),
    };
    let arguments = ["--print", "target-libdir", "--target", TARGET];
    let said = work.run(Path::new("rustc"), &arguments, &[])?;
    let folder = PathBuf::from(String::from_utf8_lossy(&said).trim());
    if folder.is_dir() {
        Ok(())
    } else {
        Err(missing())
    }
}
