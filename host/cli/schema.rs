//! `millrace schema`: the JSON Schema of the configuration.

use std::io::Write as _;

use super::Output;
use crate::config;

/// Arguments of `millrace schema`.
#[derive(Debug, Clone, clap::Args)]
pub struct SchemaArgs {
    /// How the answer is printed; it is JSON in any case, and `json` puts it on one line.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Prints it.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &SchemaArgs) -> anyhow::Result<()> {
    let schema = config::json_schema();
    let schema = match args.output {
        Output::Text => serde_json::to_string_pretty(&schema)?,
        Output::Json => schema.to_string(),
    };
    writeln!(std::io::stdout().lock(), "{schema}")?;
    Ok(())
}
