//! `millrace replay`: a range of events, run again beside the group that serves. It must not know how events are run, or
//! where what they come to is kept; [`crate::daemon`] and [`crate::replay`] do.

mod compare;
mod run;
mod swap;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

pub use self::run::RunArgs;
use super::Output;
use super::run::ConfigArgs;
use crate::config::Group;
use crate::replay::Side;

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
enum Command {
    /// Show how state and outputs of a replay differ from those of the live group. Ends with 1 where they do.
    Compare(compare::CompareArgs),
    /// Put the state of a replay in the place of that of the live group, which is stopped, and set its offsets behind what
    /// the replay has handled. The old state is kept, and `--back` takes it back.
    Swap(swap::SwapArgs),
}

/// Which replay is meant.
#[derive(Debug, Args)]
struct Of {
    #[command(flatten)]
    config: ConfigArgs,
    /// The live group, as the configuration calls it.
    #[arg(short, long)]
    group: String,
    /// The folder of the replay; beside the store of the live group when left out.
    #[arg(long, value_name = "FOLDER")]
    side: Option<PathBuf>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// The side in this folder, or where it is when nobody says.
fn side_of(group: &Group, folder: Option<&PathBuf>) -> Side {
    folder.map_or_else(|| Side::beside(group), |folder| Side::at(folder.clone()))
}

/// Runs `millrace replay`. Ends with 1 where events failed or the end was not reached.
///
/// # Errors
/// The configuration is wrong, the cluster does not answer, or the side cannot be made.
pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        None => run::run(&args.run),
        Some(Command::Compare(args)) => compare::run(args),
        Some(Command::Swap(args)) => swap::run(args).map(|()| ExitCode::SUCCESS),
    }
}
