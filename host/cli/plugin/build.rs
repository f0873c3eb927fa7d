//! `millrace plugin build`: from the folder of a plugin to its component. It must not know how that is done.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its answer goes to standard output, what is to be known besides to standard error"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::authoring::build::build;
use crate::authoring::manifest::Manifest;
use crate::authoring::{self};
use crate::cli::Output;
use crate::sandbox::Compiler;

/// Arguments of `millrace plugin build`.
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Builds it.
pub(super) fn run(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    let manifest = Manifest::read(&args.folder)?;
    let sandbox = authoring::sandbox(Compiler::own_child()?)?;
    let built = build(&manifest, &sandbox)?;
    for note in &built.notes {
        eprintln!("{note}");
    }
    match args.output {
        Output::Json => println!(
            "{}",
            json!({
                "component": built.component,
                "bytes": built.bytes,
                "took_ms": built.took.as_millis() as u64,
                "changed": built.changed,
                "uses": built.uses,
                "notes": built.notes,
            })
        ),
        Output::Text => println!(
            "{}: {} KiB, built in {:.1} s; uses {}",
            built.component.display(),
            built.bytes.div_ceil(1024),
            built.took.as_secs_f64(),
            if built.uses.is_empty() {
                "no grant".to_owned()
            } else {
                built.uses.join(", ")
            }
        ),
    }
    Ok(ExitCode::SUCCESS)
}
