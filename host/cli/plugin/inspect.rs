//! `millrace plugin inspect`: what a component file is, and what it wants.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::run::print;
use crate::authoring::inspect::Inspection;
use crate::cli::Output;
use crate::sandbox::Compiler;

/// Arguments of `millrace plugin inspect`.
#[derive(Debug, clap::Args)]
pub(super) struct InspectArgs {
    /// The component.
    #[arg(value_name = "X.WASM")]
    component: PathBuf,
    /// Also compiles it and makes an instance, with everything granted that it imports.
    #[arg(long)]
    compile: bool,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let mut inspection = Inspection::read(&args.component)?;
    if args.compile {
        inspection.start(&Compiler::own_child()?);
    }
    let mut out = std::io::stdout().lock();
    print(&mut out, args.output, &inspection, Inspection::to_json)?;
    out.flush()?;
    Ok(ExitCode::from(u8::from(!inspection.fits())))
}
