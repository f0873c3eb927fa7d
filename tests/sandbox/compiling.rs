//! Compiling in a child within its limits, and the cache of what was compiled.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millrace::config::Plugin;
use millrace::sandbox::{Compiler, Instance, LoadError, LoadedPlugin, Sandbox, SandboxSettings};

use super::limits::logs::logged;
use super::{Event, everything_granted, guest, run};
use crate::harness::host::BINARY;

/// A sandbox as the daemon has it: with a child that compiles, and here with a cache of its own.
fn sandbox(compiler: Compiler, cache: Option<&Path>) -> Sandbox {
    let settings = SandboxSettings {
        compiler,
        compile_cache: cache.map(Path::to_owned),
        lanes: 10,
    };
    Sandbox::start(settings).expect("the engine starts")
}

fn child() -> Compiler {
    Compiler::child(PathBuf::from(BINARY))
}

/// Nobody compiles: what loads comes from the cache.
fn nobody() -> Compiler {
    Compiler::child(PathBuf::from("/nowhere/millrace"))
}

fn load(sandbox: &Sandbox, config: &Plugin) -> Result<LoadedPlugin, LoadError> {
    LoadedPlugin::load(sandbox, "under-test", config)
}

#[track_caller]
fn works(loaded: Result<LoadedPlugin, LoadError>) {
    let plugin = loaded.unwrap_or_else(|error| panic!("{error}")).into();
    let mut instance = Instance::new(&plugin).expect("it starts");
    run(&mut instance, &[Event::of_value("{}")]).expect("it is handled");
}

#[test]
fn what_a_child_compiled_runs_with_fuel_and_without() {
    let sandbox = sandbox(child(), None);
    let mut config = everything_granted(guest("rogue"));
    works(load(&sandbox, &config));
    config.limits.fuel = Some(1_000_000_000);
    works(load(&sandbox, &config));
}

#[test]
fn what_a_child_finds_invalid_is_told_in_its_words() {
    let whole = fs::read(guest("rogue")).expect("it can be read");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("half.wasm");
    fs::write(&path, &whole[..whole.len() / 2]).expect("it can be written");
    let error = load(&sandbox(child(), None), &everything_granted(path));
    let message = error.expect_err("it is cut short").to_string();
    assert!(
        message.contains("half.wasm is not a valid component: "),
        "{message}"
    );
}

#[test]
fn compile_time_obeyed() {
    let mut config = everything_granted(guest("rogue"));
    config.limits.compile_time = Duration::from_secs(300);
    works(load(&sandbox(child(), None), &config));
}

#[test]
fn compile_time_violated() {
    let mut config = everything_granted(guest("rogue"));
    config.limits.compile_time = Duration::from_millis(10);
    let began = Instant::now();
    let error = load(&sandbox(child(), None), &config).expect_err("nothing compiles so fast");
    assert_eq!(error.limit(), Some("compile_time"));
    let message = error.to_string();
    for part in [
        "plugin under-test",
        "rogue.wasm",
        "longer than 10 ms",
        "plugins.under-test.limits.compile_time",
    ] {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    // A child that went on would have been waited for.
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_child_that_does_not_answer_is_killed_at_the_limit() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let program = folder.path().join("sleeps");
    fs::write(&program, "#!/bin/sh\nexec sleep 600\n").expect("it can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let mut config = everything_granted(guest("rogue"));
    config.limits.compile_time = Duration::from_millis(300);
    let began = Instant::now();
    let error = load(&sandbox(Compiler::child(program), None), &config);
    let error = error.expect_err("it never answers");
    assert!(matches!(error, LoadError::CompileTime { .. }), "{error}");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(20));
}

#[test]
fn a_compile_that_takes_too_much_memory_fails_alone() {
    let compiler = Compiler::Child {
        executable: PathBuf::from(BINARY),
        memory_bytes: 4 << 20,
    };
    let error = load(
        &sandbox(compiler, None),
        &everything_granted(guest("rogue")),
    );
    let message = error.expect_err("no compile is so small").to_string();
    for part in ["compiling", "failed", "4194304 bytes of memory"] {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn what_was_compiled_once_is_not_compiled_again() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let config = everything_granted(guest("rogue"));
    let cache = folder.path().join("cache");
    let error = load(&sandbox(nobody(), Some(&cache)), &config).expect_err("nobody compiles");
    assert!(matches!(error, LoadError::Compile { .. }), "{error}");
    works(load(&sandbox(child(), Some(&cache)), &config));
    works(load(&sandbox(nobody(), Some(&cache)), &config));
    // Counting fuel is other machine code.
    let mut metered = config;
    metered.limits.fuel = Some(1_000_000_000);
    assert!(load(&sandbox(nobody(), Some(&cache)), &metered).is_err());
}

fn files(cache: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(cache).expect("it is there");
    files
        .map(|file| file.expect("it can be listed").path())
        .filter(|path| path.extension() == Some(OsStr::new(extension)))
        .collect()
}

#[test]
fn an_entry_that_was_tampered_with_is_not_run_and_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let config = everything_granted(guest("rogue"));
    let cache = folder.path().join("cache");
    works(load(&sandbox(child(), Some(&cache)), &config));
    let [code] = &files(&cache, "cwasm")[..] else {
        panic!("one entry")
    };
    let whole = fs::read(code).expect("it can be read");
    let mut one_bit = whole.clone();
    one_bit[whole.len() / 2] ^= 1;
    for harmed in [&one_bit[..], &whole[..whole.len() / 2], b"", b"\x7fELF"] {
        fs::write(code, harmed).expect("it can be written");
        let text = logged(|| {
            let loaded = load(&sandbox(nobody(), Some(&cache)), &config);
            assert!(matches!(loaded, Err(LoadError::Compile { .. })));
        });
        assert!(text.contains("is not what this host wrote"), "{text}");
        works(load(&sandbox(child(), Some(&cache)), &config));
        assert!(fs::read(code).expect("it can be read") == whole, "replaced");
        works(load(&sandbox(nobody(), Some(&cache)), &config));
    }
}

#[test]
fn a_cache_that_others_may_open_is_not_used_and_the_log_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).expect("it can be made");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let config = everything_granted(guest("rogue"));
    let text = logged(|| works(load(&sandbox(Compiler::InProcess, Some(&cache)), &config)));
    let advice = format!("chmod 700 {}", cache.display());
    assert!(text.contains(&advice), "{text}");
    assert!(files(&cache, "cwasm").is_empty());
}
