//! The subcommands of `millrace`, one file each.
//!
//! A command prints its answer on standard output and nothing else. It must not hold logic that the
//! daemon needs too.

mod ask;
pub mod compile_component;
pub mod dev;
pub mod dlq;
pub mod explain;
pub mod lag;
pub mod offsets;
pub mod pause;
pub mod plugin;
pub mod produce;
pub mod replay;
pub mod run;
pub mod schema;
mod signals;
pub mod tap;
pub mod topics;
pub mod validate;

/// How a command prints its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON value, for programs.
    Json,
}
