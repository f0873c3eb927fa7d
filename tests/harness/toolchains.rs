//! Tools that the Makefile's `setup` targets put into a folder of their own: those of languages that plugins are written
//! in, and those that check what is deployed.

use std::path::{Path, PathBuf};

use super::process;

/// Links into a plugin's folder what the first command of a new plugin would install.
#[track_caller]
pub(crate) fn equip(folder: &Path) {
    for (asked_for_in, tools, place) in [
        ("package.json", "npm/node_modules", "node_modules"),
        ("requirements.txt", "python", ".venv"),
    ] {
        if folder.join(asked_for_in).exists() {
            let tools = toolchains().join(tools);
            assert!(
                tools.exists(),
                "{} is missing: run `make setup-languages`",
                tools.display()
            );
            std::os::unix::fs::symlink(tools, folder.join(place)).expect("it can be linked");
        }
    }
}

/// The path of a tool below that folder.
///
/// # Panics
/// When it is not there, with the target that installs it.
#[track_caller]
pub(crate) fn tool(path: &str, installed_by: &str) -> PathBuf {
    let tool = toolchains().join(path);
    assert!(
        tool.exists(),
        "{} is missing: run `make {installed_by}`",
        tool.display()
    );
    tool
}

/// A program of a stranger's client, as `make setup-clients` installs them.
#[track_caller]
pub(crate) fn client(program: &str) -> PathBuf {
    tool(&format!("clients/bin/{program}"), "setup-clients")
}

/// Where the Makefile puts them; it computes the same place.
fn toolchains() -> PathBuf {
    let cache = process::setting("XDG_CACHE_HOME").map_or_else(
        || Path::new(&process::setting("HOME").expect("HOME is set")).join(".cache"),
        PathBuf::from,
    );
    cache.join("millrace/toolchains")
}
