//! `millrace validate`: the configuration and its plugins, without touching Kafka.

use std::io::Write as _;
use std::sync::Arc;

use super::Output;
use super::run::ConfigArgs;
use crate::registry::Registry;
use crate::sandbox::{Compiler, LoadedPlugin, Sandbox, SandboxSettings};
use crate::schema::Rules;

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
    let config = Registry::new(&config.registry, false).provide(&config)?;
    let settings = SandboxSettings::new(&config, Compiler::own_child()?);
    let plugins = LoadedPlugin::prepare_all(&Sandbox::start(settings)?, &config.plugins)?;
    let schemas = config.validation.iter();
    let schemas = schemas.map(|(name, validation)| Rules::load(name, validation));
    let schemas: Vec<Rules> = schemas.collect::<Result<_, _>>()?;
    let digest = |(name, loaded): (_, &Arc<LoadedPlugin>)| serde_json::json!({ "plugin": name, "digest": loaded.digest });
    let plugins: Vec<_> = plugins.iter().map(digest).collect();
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(
            out,
            "{}",
            serde_json::json!({
                "valid": true,
                "plugins": plugins,
                "validation": schemas.iter().map(shown).collect::<Vec<_>>(),
            })
        )?,
        Output::Text => writeln!(
            out,
            "{}: valid, {} groups, {} plugins load{}",
            args.config.config.display(),
            config.groups.len(),
            config.plugins.len(),
            match schemas.len() {
                0 => String::new(),
                sets => format!(", the schemas of {sets} rules compile"),
            }
        )?,
    }
    Ok(())
}

fn shown(rules: &Rules) -> serde_json::Value {
    let set = rules.serving();
    let types: Vec<&str> = set.types().collect();
    serde_json::json!({ "rules": rules.name(), "files": set.files(), "types": types })
}
