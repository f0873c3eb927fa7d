//! Every wrong turn of a build is answered with what to do, and leaves the last component that was well in its place.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::{Answer, begun, edit, millrace};
use crate::harness::process;

/// A plugin whose build is of its author's own and makes these bytes.
fn of_bytes(bytes: &[u8]) -> PathBuf {
    let folder = process::folder("own");
    fs::create_dir_all(folder.join("wit")).unwrap();
    let manifest = "name: own\nlanguage: other\ntopics: [t]\nbuild: { command: [\"true\"], component: made.wasm }\n";
    fs::write(folder.join("plugin.yaml"), manifest).unwrap();
    fs::write(folder.join("made.wasm"), bytes).unwrap();
    let begun = begun("world", "js");
    fs::remove_dir(folder.join("wit")).unwrap();
    fs::rename(begun.join("wit"), folder.join("wit")).unwrap();
    folder
}

fn of_text(text: &str) -> PathBuf {
    of_bytes(&wat::parse_str(text).unwrap())
}

#[track_caller]
fn refused(folder: &Path) -> Answer {
    millrace(folder, &["plugin", "build"], &[]).expect(1)
}

#[test]
fn a_core_module_for_another_target_is_told_which_exports_it_lacks() {
    let folder = of_text("(module (memory (export \"memory\") 1) (func (export \"run\")))");
    refused(&folder).says(&[
        "made.wasm is no component yet, and cannot become one",
        "interface `millrace:plugin/event-handler@0.1.0` function `handle`",
        "another target or another world than `plugin` in wit/plugin.wit",
    ]);
}

#[test]
fn a_core_module_of_wasi_without_our_exports_is_told_the_same() {
    let folder = of_text(
        "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func (param i32)))
                 (memory (export \"memory\") 1) (func (export \"_start\")))",
    );
    refused(&folder).says(&[
        "cannot become one",
        "interface `millrace:plugin/event-handler@0.1.0` function `handle`",
    ]);
}

#[test]
fn a_component_of_another_world_is_told_which_world_a_plugin_has() {
    refused(&of_text("(component)")).says(&[
        "the component is no plugin: it exports nothing, and nothing that handles events",
        "`include millrace:plugin/handler@0.1.0;` in wit/plugin.wit",
    ]);
}

#[test]
fn a_component_of_another_version_of_the_contract_is_told_both() {
    let folder = of_text(
        "(component (instance $none) (export \"millrace:plugin/event-handler@0.2.0\" (instance $none)))",
    );
    refused(&folder).says(&[
        "millrace:plugin/event-handler@0.2.0 is of another version of the contract than this host's \
         millrace:plugin@0.1.0",
        "`millrace plugin wit`",
    ]);
}

#[test]
fn an_import_that_no_host_has_is_named() {
    let folder = of_text("(component (import \"other:host/mail@1.0.0\" (instance)))");
    refused(&folder).says(&["it imports other:host/mail@1.0.0, which this host does not have"]);
}

#[test]
fn what_is_no_webassembly_or_was_not_made_at_all_is_told_so() {
    let folder = of_bytes(b"#!/bin/sh\n");
    refused(&folder).says(&[
        "made.wasm is no component yet",
        "it is not WebAssembly at all",
    ]);
    fs::remove_file(folder.join("made.wasm")).unwrap();
    refused(&folder).says(&[
        "the build made no ",
        "made.wasm",
        "`build.component` in plugin.yaml",
    ]);
}

#[test]
fn a_build_of_ones_own_that_fails_shows_what_it_said_below_the_message() {
    let folder = of_text("(component)");
    let failing = "command: [sh, -c, \"echo to out; echo to err >&2; exit 3\"]";
    edit(&folder.join("plugin.yaml"), "command: [\"true\"]", failing);
    let answer = refused(&folder);
    let message = "the build failed: `sh -c echo to out; echo to err >&2; exit 3` ended with exit code 3, and said";
    assert_eq!(answer.stderr, format!("{message}\n\nto err\n\nto out\n"));
}

#[test]
fn a_contract_of_another_version_is_refused_before_any_tool_runs() {
    let folder = begun("stale", "js");
    for file in ["types.wit", "worlds.wit", "capabilities.wit"] {
        let file = folder.join("wit/deps/millrace-plugin").join(file);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(
            &file,
            text.replace("millrace:plugin@0.1.0", "millrace:plugin@0.0.9"),
        )
        .unwrap();
    }
    refused(&folder).says(&[
        "the plugin was written for millrace:plugin@0.0.9, and this host has millrace:plugin@0.1.0",
        "millrace plugin wit",
        "write `@0.1.0` for `@0.0.9` in wit/plugin.wit",
    ]);
    millrace(&folder, &["plugin", "wit"], &[]).expect(0);
    millrace(&folder, &["plugin", "build"], &[]).expect(0);
}

#[test]
fn a_world_that_names_another_version_is_told_where() {
    let folder = begun("ahead", "js");
    edit(
        &folder.join("wit/plugin.wit"),
        "millrace:plugin/handler@0.1.0",
        "millrace:plugin/handler@0.3.0",
    );
    refused(&folder).says(&[
        "cannot be read as WIT",
        "millrace:plugin@0.3.0",
        "this host's contract is millrace:plugin@0.1.0",
    ]);
}

#[test]
fn a_contract_that_was_changed_is_told_where_the_component_does_not_fit() {
    let folder = begun("changed", "js");
    edit(
        &folder.join("wit/deps/millrace-plugin/types.wit"),
        "attempt: u32,",
        "attempt: u64,",
    );
    refused(&folder).says(&[
        "a host would not load the component",
        "this host has `interface types / record event / attempt: u32`, the folder does not",
        "`millrace plugin wit` writes the host's",
    ]);
}

#[test]
fn a_capability_is_asked_for_in_the_world_and_then_in_the_manifest() {
    let folder = begun("greedy", "js");
    let source = folder.join("src/plugin.js");
    fs::write(&source, "import { state } from \"millrace\";\nexport const handle = () => state.set(\"a\", \"b\");\n").unwrap();
    refused(&folder).says(&[
        "the source uses millrace:plugin/state@0.1.0, which the plugin's world does not have",
        "\n  include millrace:plugin/with-state@0.1.0;\n",
    ]);
    let world = folder.join("wit/plugin.wit");
    let metrics = "include millrace:plugin/with-metrics@0.1.0;";
    edit(&world, metrics, "include millrace:plugin/with-state@0.1.0;");
    refused(&folder).says(&[
        "the component uses what plugin.yaml does not grant",
        "add to the list `grants` under `plugin`\n  - \"state\"\n",
    ]);
    edit(&folder.join("plugin.yaml"), "[metrics]", "[state]");
    millrace(&folder, &["plugin", "build"], &[]).expect(0);
}

#[test]
fn a_mistake_in_the_source_is_shown_where_it_is_and_the_last_component_stays() {
    for (language, file, mistake, place) in [
        ("js", "src/plugin.js", "export function (", "src/plugin.js:"),
        (
            "ts",
            "src/plugin.ts",
            "export const wrong: number = \"text\";",
            "src/plugin.ts(",
        ),
        (
            "rust",
            "src/lib.rs",
            "fn wrong() -> u32 { \"text\" }",
            "src/lib.rs:",
        ),
    ] {
        let folder = begun(&format!("mistaken-{language}"), language);
        millrace(&folder, &["plugin", "build"], &[]).expect(0);
        let component = folder.join(format!("dist/mistaken-{language}.wasm"));
        let before = fs::read(&component).unwrap();
        let source = fs::read_to_string(folder.join(file)).unwrap();
        fs::write(folder.join(file), format!("{source}\n{mistake}\n")).unwrap();
        let answer = refused(&folder);
        assert!(
            answer.stderr.starts_with("the build failed: `"),
            "{}",
            answer.stderr
        );
        answer.says(&[place]);
        assert_eq!(fs::read(&component).unwrap(), before);
        let dist = fs::read_dir(folder.join("dist")).unwrap().count();
        assert_eq!(dist, 1, "nothing half done lies there");
    }
}

#[test]
fn packages_that_are_not_installed_are_told_how_to_install_them() {
    let folder = begun("bare", "js");
    fs::remove_file(folder.join("node_modules")).unwrap();
    refused(&folder).says(&["esbuild is missing: install it with\n  npm install"]);
}

/// A folder for `PATH` with these programs alone, each of which says what it is given.
fn path_of(programs: &[(&str, &str)]) -> String {
    let folder = process::folder("path");
    let setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].map(Path::new);
    let setpriv = setpriv.into_iter().find(|path| path.exists()).unwrap();
    symlink(setpriv, folder.join("setpriv")).unwrap();
    for (name, says) in programs {
        let file = folder.join(name);
        fs::write(&file, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder.display().to_string()
}

#[test]
fn a_tool_that_is_missing_or_too_old_is_named_with_the_command_that_installs_it() {
    for (language, programs, parts) in [
        (
            "rust",
            &[][..],
            ["cargo is missing: install it with\n  ", "rustup"],
        ),
        (
            "rust",
            &[("cargo", "cargo 1.70.0 (ec8a8a0ca 2023-04-25)")][..],
            [
                "cargo is too old: version 1.70 is installed and 1.95 is the oldest that works",
                "rustup update stable",
            ],
        ),
        (
            "rust",
            &[("cargo", "cargo 1.95.0"), ("rustc", "/nowhere")][..],
            [
                "the Rust target wasm32-wasip2 is missing",
                "rustup target add wasm32-wasip2",
            ],
        ),
        (
            "js",
            &[][..],
            [
                "node is missing: install it with\n  ",
                "apt-get install nodejs npm",
            ],
        ),
        (
            "ts",
            &[("node", "v16.20.0")][..],
            ["node is too old: version 16.20", "18.0 is the oldest"],
        ),
        (
            "go",
            &[("go", "go version go1.19.8 linux/amd64")][..],
            [
                "go is too old: version 1.19 is installed and 1.24",
                "apt-get install golang-go",
            ],
        ),
    ] {
        let folder = begun("toolless", language);
        let path = path_of(programs);
        let answer = millrace(&folder, &["plugin", "build"], &[("PATH", &path)]).expect(1);
        answer.says(&parts);
    }
}

#[test]
fn tools_from_pypi_that_are_not_installed_are_told_how_to_install_them() {
    for (language, tool) in [("python", "componentize-py"), ("c", "python-zig")] {
        let folder = begun("bare", language);
        fs::remove_file(folder.join(".venv")).unwrap();
        let answer = millrace(&folder, &["plugin", "build"], &[("PATH", &path_of(&[]))]).expect(1);
        answer.says(&[
            &format!("{tool} is missing: install it with\n  python3 -m venv .venv && "),
            ".venv/bin/pip install -r requirements.txt",
        ]);
    }
}

#[test]
fn a_capability_that_the_world_does_not_have_is_named_with_the_line_that_adds_it() {
    for (language, file, from, to) in [
        (
            "go",
            "main.go",
            "\treturn nil, nil\n",
            "\tmillrace.StateDelete(\"x\")\n\treturn nil, nil\n",
        ),
        (
            "c",
            "src/plugin.c",
            "  return millrace_processed",
            "  millrace_state_delete(\"x\");\n  return millrace_processed",
        ),
        (
            "python",
            "src/plugin.py",
            "Reject, metrics",
            "Reject, metrics, state",
        ),
    ] {
        let folder = begun("curious", language);
        edit(&folder.join(file), from, to);
        refused(&folder).says(&["include millrace:plugin/with-state@0.1.0;"]);
    }
}

#[test]
fn a_handler_that_is_not_there_is_named() {
    for (language, file, from, to, says) in [
        (
            "c",
            "src/plugin.c",
            "millrace_outcome handle(",
            "millrace_outcome manage(",
            "undefined symbol: handle",
        ),
        (
            "python",
            "src/plugin.py",
            "def handle(",
            "def manage(",
            "plugin.py has no function `handle`",
        ),
    ] {
        let folder = begun("headless", language);
        edit(&folder.join(file), from, to);
        refused(&folder).says(&[says]);
    }
}

#[test]
fn without_packages_and_without_npm_it_is_npm_that_is_missing() {
    let folder = begun("npmless", "js");
    fs::remove_file(folder.join("node_modules")).unwrap();
    let path = path_of(&[("node", "v20.0.0")]);
    let answer = millrace(&folder, &["plugin", "build"], &[("PATH", &path)]).expect(1);
    answer.says(&["npm is missing: install it with\n  apt-get install npm"]);
}

#[test]
fn a_folder_that_is_no_plugins_and_a_manifest_that_is_wrong_are_told_so() {
    let folder = process::folder("empty");
    let none = millrace(&folder, &["plugin", "build"], &[]).expect(78);
    none.says(&[
        "there is no plugin.yaml in .",
        "`millrace plugin new NAME --lang rust`",
    ]);
    fs::write(
        folder.join("plugin.yaml"),
        "name: a\nlanguage: rust\ntopic: [t]\n",
    )
    .unwrap();
    let wrong = millrace(&folder, &["plugin", "build"], &[]).expect(78);
    wrong.says(&[
        "plugin.yaml:1:1: `topics` is missing: write for example `topics: [orders]`",
        "plugin.yaml:3:1: unknown key `topic`: did you mean `topics`?",
        "2 problems in the configuration",
    ]);
}
