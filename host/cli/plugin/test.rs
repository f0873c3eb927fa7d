//! `millrace plugin test`: plays the scenarios of a plugin and says where it does something else than expected. It
//! must not know how a scenario is played.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its answer goes to standard output, what is to be known besides to standard error"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::CannotRun;
use crate::authoring;
use crate::authoring::build::{build, is_stale};
use crate::authoring::manifest::Manifest;
use crate::authoring::scenario::report;
use crate::authoring::scenario::{SourceOfScenarios, Suite, SuiteError, TESTS_FOLDER, files_in};
use crate::cli::Output;
use crate::sandbox::{Compiler, Sandbox};
use crate::telemetry::logs::{self, LogFormat};

/// `EX_CONFIG` of sysexits.h, as for a configuration: running it again will not help.
const BAD_SCENARIO: u8 = 78;

/// Arguments of `millrace plugin test`.
#[derive(Debug, clap::Args)]
pub(super) struct TestArgs {
    /// The plugin's folder, and files of scenarios. Left out, it is this folder, and tests/*.yaml in it.
    #[arg(value_name = "FOLDER_OR_FILE")]
    paths: Vec<PathBuf>,
    /// Only scenarios whose name holds this text.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Takes this component and builds nothing.
    #[arg(long, value_name = "X.WASM")]
    component: Option<PathBuf>,
    /// Does not build, even where the sources are newer than the component.
    #[arg(long)]
    no_build: bool,
    /// Also writes what came of it as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Plays the scenarios. The exit code is 0 where all went as expected, and 1 where one did not.
pub(super) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    // What the host says of a plugin that fails on purpose would only be in the way.
    logs::start("error", LogFormat::Text).map_err(anyhow::Error::msg)?;
    let (folder, files) = folder_and_files(args)?;
    let manifest = Manifest::read(&folder)?;
    let files = if files.is_empty() {
        let tests = folder.join(TESTS_FOLDER);
        files_in(&tests).with_context(|| {
            let name = tests.display();
            format!(
                "the scenarios in {name} cannot be read; name the files, or the plugin's folder"
            )
        })?
    } else {
        files
    };
    let mut plugin = manifest.plugin.clone();
    if let Some(component) = &args.component {
        plugin.path.clone_from(component);
    }
    let source = SourceOfScenarios {
        name: &manifest.name,
        folder: &manifest.folder,
        topics: &manifest.topics,
        plugin: &plugin,
    };
    let mut suite = match Suite::read(&files, &source) {
        Ok(suite) => suite,
        Err(error) => return bad_scenarios(&error),
    };
    if let Some(part) = &args.filter {
        suite.retain(part);
    }
    anyhow::ensure!(!suite.is_empty(), nothing_to_play(args));
    let sandbox = authoring::sandbox(Compiler::own_child()?)?;
    make_ready(args, &manifest, &sandbox).map_err(CannotRun)?;
    play(args, &suite, &source, &sandbox)
}

/// The folder among what was named, this one where there is none, and the files.
fn folder_and_files(args: &TestArgs) -> anyhow::Result<(PathBuf, Vec<PathBuf>)> {
    let (folders, files): (Vec<_>, Vec<_>) =
        args.paths.iter().cloned().partition(|path| path.is_dir());
    for file in &files {
        anyhow::ensure!(
            file.is_file(),
            "there is neither a file nor a folder {}",
            file.display()
        );
    }
    match folders.as_slice() {
        [] => Ok((PathBuf::from("."), files)),
        [folder] => Ok((folder.clone(), files)),
        [_, second, ..] => {
            anyhow::bail!(
                "{} is a second folder: name one at a time",
                second.display()
            )
        }
    }
}

fn nothing_to_play(args: &TestArgs) -> String {
    match &args.filter {
        Some(part) => format!("no scenario's name holds {part:?}"),
        None => format!(
            "there are no scenarios: write one into {TESTS_FOLDER}/first.yaml, or name a file"
        ),
    }
}

fn bad_scenarios(error: &SuiteError) -> anyhow::Result<ExitCode> {
    eprintln!("{error}");
    Ok(ExitCode::from(BAD_SCENARIO))
}

/// Builds the component where its sources are newer.
fn make_ready(args: &TestArgs, manifest: &Manifest, sandbox: &Sandbox) -> anyhow::Result<()> {
    if let Some(component) = &args.component {
        return check_there(component, "name another one");
    }
    if args.no_build {
        return check_there(manifest.component_path(), "leave --no-build out");
    }
    if is_stale(manifest) {
        let built = build(manifest, sandbox)?;
        eprintln!(
            "built {} in {:.1} s",
            built.component.display(),
            built.took.as_secs_f64()
        );
    }
    Ok(())
}

fn check_there(component: &Path, otherwise: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        component.is_file(),
        "there is no component {}: {otherwise}",
        component.display()
    );
    Ok(())
}

fn play(
    args: &TestArgs,
    suite: &Suite,
    source: &SourceOfScenarios<'_>,
    sandbox: &Sandbox,
) -> anyhow::Result<ExitCode> {
    let cases = suite.play(source, sandbox, |case| {
        if args.output == Output::Text {
            print!("{}", report::told(case));
        }
    });
    let cases = cases.map_err(|error| CannotRun(error.into()))?;
    match args.output {
        Output::Text => println!("{}", report::told_in_all(&cases)),
        Output::Json => println!("{}", report::in_json(&cases)),
    }
    if let Some(junit) = &args.junit {
        std::fs::write(junit, report::in_junit(source.name, &cases))
            .with_context(|| format!("{} cannot be written", junit.display()))?;
    }
    let failed = cases.iter().any(|case| !case.passed());
    Ok(ExitCode::from(u8::from(failed)))
}
