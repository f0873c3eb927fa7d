//! Writes the list of files that the host carries in itself for the authors of plugins: the contract, the SDKs and
//! the templates. What they are for is `authoring/scaffold.rs`'s business.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders, and the names that the lists of their files go by.
const FOLDERS: [(&str, &str); 13] = [
    ("WIT", "wit"),
    ("COMMON", "sdk/template"),
    ("RUST_SDK", "sdk/rust"),
    ("RUST", "sdk/rust/template"),
    ("JS_SDK", "sdk/js"),
    ("JS", "sdk/js/template"),
    ("TS", "sdk/ts/template"),
    ("PYTHON_SDK", "sdk/python/millrace"),
    ("PYTHON", "sdk/python/template"),
    ("GO_SDK", "sdk/go/millrace"),
    ("GO", "sdk/go/template"),
    ("C_SDK", "sdk/c/millrace"),
    ("C", "sdk/c/template"),
];

/// What lies in these folders and is nobody's: plugins that test the SDK, what toolchains leave behind, and the
/// folders that have a list of their own.
const LEFT_OUT: [&str; 7] = [
    "template",
    "conformance",
    "target",
    "node_modules",
    "dist",
    ".build",
    "__pycache__",
];

/// Writes `embedded.rs` into the folder of what cargo generates.
pub(super) fn write(out: &Path) -> Result<(), Box<dyn Error>> {
    let top = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo names no folder")?);
    let mut text = String::new();
    for (name, folder) in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        let mut files = Vec::new();
        collect(&top.join(folder), Path::new(""), &mut files)?;
        files.sort_unstable();
        writeln!(text, "pub(super) static {name}: &[(&str, &str)] = &[")?;
        for file in files {
            let path = top.join(folder).join(&file);
            writeln!(
                text,
                "    ({:?}, include_str!({:?})),",
                file.to_string_lossy(),
                path
            )?;
        }
        writeln!(text, "];")?;
    }
    fs::write(out.join("embedded.rs"), text)?;
    Ok(())
}

/// The files below a folder, by their path from there. A folder that is not there has none.
fn collect(top: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    let Ok(entries) = fs::read_dir(top.join(below)) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let path = below.join(entry.file_name());
        // The SDK's link to the contract, which has a list of its own.
        if entry.file_type()?.is_symlink() {
            continue;
        }
        if !entry.path().is_dir() {
            files.push(path);
        } else if !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            collect(top, &path, files)?;
        }
    }
    Ok(())
}
