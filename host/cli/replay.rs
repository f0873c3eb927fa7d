//! `millrace replay`: a range of events, run again beside the group that serves. It must not know how events are run, or
//! where what they come to is kept; [`crate::daemon`] and [`crate::replay`] do.

mod run;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub use self::run::RunArgs;

/// Run a range of events again, beside the group that serves, and see what comes of it. Nothing of the live group is
/// touched: the side has a group, a store, journals and files of its own.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ReplayArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {}

/// Runs `millrace replay`. Ends with 1 where events failed or the end was not reached.
///
/// # Errors
/// The configuration is wrong, the cluster does not answer, or the side cannot be made.
pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        None => run::run(&args.run),
        Some(command) => match *command {},
    }
}
