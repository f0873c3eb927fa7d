//! `millrace validate`: the configuration and its plugins, without touching Kafka.

use std::io::Write as _;
use std::sync::Arc;

use super::Output;
use super::run::ConfigArgs;
use crate::sandbox::{Compiler, LoadedPlugin, Sandbox, SandboxSettings};

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
    let settings = SandboxSettings::new(&config, Compiler::own_child()?);
    let plugins = LoadedPlugin::prepare_all(&Sandbox::start(settings)?, &config.plugins)?;
    let digest = |(name, loaded): (_, &Arc<LoadedPlugin>)| serde_json::json!({ "plugin": name, "digest": loaded.digest });
    let plugins: Vec<_> = plugins.iter().map(digest).collect();
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
