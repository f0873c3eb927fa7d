//! `millrace plugin new` and `millrace plugin wit`: what is written into a plugin's folder, and what to type next. It
//! must not know what a template holds.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use serde_json::json;

use crate::authoring::manifest::{Language, Manifest};
use crate::authoring::scaffold;
use crate::cli::Output;

/// Arguments of `millrace plugin new`.
#[derive(Debug, clap::Args)]
pub(super) struct NewArgs {
    /// The plugin's name, which its folder and its component get too.
    name: String,
    /// What it is written in.
    #[arg(long, value_name = "LANGUAGE", value_parser = PossibleValuesParser::new(scaffold::words()))]
    lang: String,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Arguments of `millrace plugin wit`.
#[derive(Debug, clap::Args)]
pub(super) struct WitArgs {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Begins a plugin in the current folder.
pub(super) fn run(args: &NewArgs) -> anyhow::Result<ExitCode> {
    let known = Language::BUILT
        .into_iter()
        .find(|(word, _)| *word == args.lang);
    let language = known.map_or(Language::Other, |(_, language)| language);
    let begun = scaffold::new(Path::new(""), &args.name, language)?;
    match args.output {
        Output::Json => println!(
            "{}",
            json!({ "folder": begun.folder, "files": begun.files, "next": begun.next })
        ),
        Output::Text => println!(
            "{}: a plugin with a README, a first test and events to try it on. Go on with\n\n  {}",
            begun.folder.display(),
            begun.next.join("\n  ")
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the contract and the SDK of this host into a plugin's folder.
pub(super) fn wit(args: &WitArgs) -> anyhow::Result<ExitCode> {
    let manifest = Manifest::read(&args.folder)?;
    let written = scaffold::refresh(&manifest)?;
    match args.output {
        Output::Json => println!("{}", json!({ "written": written })),
        Output::Text if written.is_empty() => {
            println!("the contract and the SDK are this host's already")
        }
        Output::Text => written
            .iter()
            .for_each(|path| println!("{}", path.display())),
    }
    Ok(ExitCode::SUCCESS)
}
