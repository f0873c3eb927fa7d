//! C: `zig cc` from PyPI, or a clang that has a C library for WebAssembly, makes a core module of the author's files
//! and the SDK's.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use super::componentize::{self, Made};
use super::tool::Tool;
use super::{BuildError, Work, adapter};

/// What PyPI's package `ziglang` installs.
const PYTHON_ZIG: Tool = Tool {
    program: "python-zig",
    beside: &[".venv/bin"],
    version: &["version"],
    least: Some([0, 13]),
    install: "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt   (in the plugin's folder; or: apt-get \
              install clang lld wasi-libc libclang-rt-dev-wasm32)",
};

const ZIG: Tool = Tool {
    program: "zig",
    ..PYTHON_ZIG
};

/// A clang counts where it finds a C library for WebAssembly.
const CLANG: Tool = Tool {
    program: "clang",
    beside: &[],
    version: &["--version"],
    least: Some([14, 0]),
    install: PYTHON_ZIG.install,
};

const TARGET: &str = "wasm32-wasi";

/// Where the SDK's files stand in the plugin's folder.
const SDK: &str = "vendor/millrace";

/// Optional exports of the contract, and what makes the SDK have them.
const DEFINES: [(&str, &str); 2] = [
    ("millrace:plugin/timer", "-DMILLRACE_TIMER"),
    ("millrace:plugin/lifecycle", "-DMILLRACE_LIFECYCLE"),
];

pub(super) fn build(work: &Work<'_>) -> Result<Made, BuildError> {
    let (compiler, first) = compiler(work)?;
    let world = componentize::world(work)?;
    let between = work.between()?;
    let core = between.join("core.wasm");
    let mut arguments: Vec<OsString> = first.iter().map(OsString::from).collect();
    arguments.extend(
        [
            &format!("--target={TARGET}"),
            "-mexec-model=reactor",
            "-std=c11",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Wl,-z,stack-size=262144",
            &format!("-I{SDK}"),
        ]
        .map(OsString::from),
    );
    arguments.extend(world.marks(&DEFINES).into_iter().map(OsString::from));
    arguments.extend(["-o".into(), core.clone().into()]);
    for folder in ["src", SDK] {
        arguments.extend(
            sources(&work.folder().join(folder))?
                .into_iter()
                .map(OsString::from),
        );
    }
    let cache = between.join("zig");
    work.run(
        &compiler,
        &arguments,
        &[("ZIG_LOCAL_CACHE_DIR", cache.as_os_str())],
    )?;
    Ok(Made::core(core, adapter::bytes()?))
}

/// The compiler, and its first arguments.
fn compiler(work: &Work<'_>) -> Result<(PathBuf, &'static [&'static str]), BuildError> {
    let missing = match PYTHON_ZIG.find(work) {
        Ok(zig) => return Ok((zig, &["cc"])),
        Err(missing) => missing,
    };
    if let Ok(zig) = ZIG.find(work) {
        return Ok((zig, &["cc"]));
    }
    match CLANG.find(work) {
        // A stack that is too deep then runs into the end of memory, and not into data, as with zig.
        Ok(clang) if has_library(work, &clang) => Ok((clang, &["-Wl,--stack-first"])),
        _ => Err(missing),
    }
}

/// Whether a clang finds a C library for WebAssembly: it answers with a path then, and with the bare name otherwise.
fn has_library(work: &Work<'_>, clang: &Path) -> bool {
    let target = format!("--target={TARGET}");
    let said = work.run(clang, &[&target, "-print-file-name=libc.a"], &[]);
    said.is_ok_and(|said| said.contains(&b'/'))
}

/// The C files in a folder and below, sorted, so that one source makes one component.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let unreadable = |error| BuildError::file(folder, error);
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            sources.extend(self::sources(&path)?);
        } else if path.extension() == Some(OsStr::new("c")) {
            sources.push(std::path::absolute(&path).map_err(unreadable)?);
        }
    }
    sources.sort_unstable();
    Ok(sources)
}
