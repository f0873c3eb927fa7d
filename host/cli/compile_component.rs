//! `millrace compile-component`: what the host starts for each component that it compiles. Not for people.

use crate::sandbox::{CompileError, compile_for_parent};

/// Arguments of `millrace compile-component`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct CompileArgs {
    /// Memory that it may take, in bytes.
    #[arg(long)]
    pub memory: u64,
    /// Count fuel.
    #[arg(long)]
    pub fuel: bool,
}

/// Compiles the component on standard input to machine code on standard output.
///
/// # Errors
/// The component is not valid, or the parent is gone.
pub fn run(args: &CompileArgs) -> anyhow::Result<()> {
    compile_for_parent(args.fuel, args.memory)
        .map_err(|error: CompileError| anyhow::Error::new(error))
}
