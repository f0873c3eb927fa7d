//! `millrace dlq`: dead letters, found, grouped, shown, written out, put back and removed. It must not know how any of
//! that is done; [`crate::dead_letters`] does.

mod clusters;
mod export;
mod import;
mod list;
mod options;
mod purge;
mod redrive;
mod repro;
mod show;
mod told;
mod trial;

use clap::{Args, Subcommand};

/// Look into dead letters, and put them back.
#[derive(Debug, Args)]
pub struct DlqArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List dead letters, the newest last.
    List(Box<list::ListArgs>),
    /// Group dead letters by what went wrong: how many, since when, and an example of each.
    Clusters(Box<clusters::ClustersArgs>),
    /// Show dead letters: where they come from, why they were given up, and what they hold. No group is joined, and
    /// nothing is committed.
    Show(show::ShowArgs),
    /// Write dead letters as lines of JSON, whole, which `import` writes back.
    Export(Box<export::ExportArgs>),
    /// Write back what `export` has written.
    Import(import::ImportArgs),
    /// Put dead letters back into the topics that they came from, each once.
    Redrive(Box<redrive::RedriveArgs>),
    /// Run a dead letter again as it failed, and say whether it ends the same.
    Repro(repro::ReproArgs),
    /// Remove the oldest dead letters for good.
    Purge(purge::PurgeArgs),
}

/// Runs `millrace dlq`.
///
/// # Errors
/// The cluster cannot be reached, there is no such dead letter, or not everything could be done.
pub fn run(args: &DlqArgs) -> anyhow::Result<()> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Clusters(args) => clusters::run(args),
        Command::Show(args) => show::run(args),
        Command::Export(args) => export::run(args),
        Command::Import(args) => import::run(args),
        Command::Redrive(args) => redrive::run(args),
        Command::Repro(args) => repro::run(args),
        Command::Purge(args) => purge::run(args),
    }
}
