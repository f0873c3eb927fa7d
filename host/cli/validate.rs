//! `millrace validate`: the configuration and its plugins, without touching Kafka.

use std::io::Write as _;

use super::Output;
use super::run::ConfigArgs;
use crate::sandbox::{Instance, LoadedPlugin, Sandbox};

/// Arguments of `millrace validate`.
#[derive(Debug, Clone, clap::Args)]
pub struct ValidateArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Reads the configuration, loads every plugin within its grants, and runs its `init`.
///
/// # Errors
/// Everything that is wrong.
pub fn run(args: &ValidateArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let sandbox = Sandbox::start()?;
    let mut plugins = Vec::new();
    for (name, plugin) in &config.plugins {
        let loaded = std::sync::Arc::new(LoadedPlugin::load(&sandbox, name, plugin)?);
        drop(Instance::new(&loaded)?);
        plugins.push(serde_json::json!({ "plugin": name, "digest": loaded.digest }));
    }
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(
            out,
            "{}",
            serde_json::json!({ "valid": true, "plugins": plugins })
        )?,
        Output::Text => writeln!(
            out,
            "{}: valid, {} groups, {} plugins load",
            args.config.config.display(),
            config.groups.len(),
            config.plugins.len()
        )?,
    }
    Ok(())
}
