//! `millrace validate`: the configuration and its plugins; and, where it is asked to, what they need of others.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::Output;
use super::run::{ConfigArgs, time};
use crate::config::Config;
use crate::daemon::online::{self, Check, State, Trouble};
use crate::registry::Registry;
use crate::sandbox::{Compiler, LoadedPlugin, Sandbox, SandboxSettings};
use crate::schema::Rules;

/// Arguments of `millrace validate`.
#[derive(Debug, Clone, clap::Args)]
pub struct ValidateArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Also asks Kafka and registries whether everything is there and permitted: brokers, topics, rights, schemas,
    /// components. Nothing is made or written.
    #[arg(long)]
    pub online: bool,
    /// The longest that Kafka may take for one answer.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s", requires = "online")]
    pub timeout: Duration,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// What the configuration needs is not there. What is wrong has been printed with everything else.
#[derive(Debug, thiserror::Error)]
#[error("{}", match .problems { 1 => "1 problem with what the configuration needs".to_owned(), many => format!("{many} problems with what the configuration needs") })]
pub struct NotReady {
    /// How many.
    pub problems: usize,
    /// The worst of them.
    pub worst: Trouble,
}

/// Plugins that do not load within their grants, and schemas that are none: everything, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Unusable(Vec<String>);

/// Reads the configuration, loads every plugin within its grants, and runs its `init`. Then asks whether everything is
/// there, where that is wanted.
///
/// # Errors
/// Everything that is wrong.
pub fn run(args: &ValidateArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let found = Found::of(&config)?;
    let checks = args.online.then(|| online::check(&config, args.timeout));
    let troubles = checks
        .iter()
        .flatten()
        .filter_map(|check| match check.state {
            State::Wrong(trouble) => Some(trouble),
            State::Fine | State::Made | State::Unknown => None,
        });
    let troubles: Vec<Trouble> = troubles.collect();
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => {
            let mut answer = found.in_json();
            if let Some(checks) = &checks {
                answer["online"] = checks.iter().map(check_in_json).collect();
                answer["ready"] = troubles.is_empty().into();
            }
            writeln!(out, "{answer}")?;
        }
        Output::Text => {
            let file = args.config.config.display();
            writeln!(out, "{file}: valid, {}", found.told(&config))?;
            for Check {
                about,
                state,
                message,
            } in checks.iter().flatten()
            {
                writeln!(out, "{:<8}{about}: {message}", word(*state))?;
            }
        }
    }
    match troubles.iter().max() {
        None => Ok(()),
        Some(worst) => Err(NotReady {
            problems: troubles.len(),
            worst: *worst,
        }
        .into()),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Fine => "ok",
        State::Made => "missing",
        State::Unknown => "unknown",
        State::Wrong(_) => "wrong",
    }
}

fn check_in_json(check: &Check) -> Value {
    json!({ "about": check.about, "state": word(check.state), "message": check.message })
}

/// What a valid configuration has.
struct Found {
    plugins: Vec<Value>,
    schemas: Vec<Rules>,
}

impl Found {
    fn of(config: &Config) -> anyhow::Result<Self> {
        let config = Registry::new(&config.registry, false).provide(config)?;
        let settings = SandboxSettings::new(&config, Compiler::own_child()?);
        let sandbox = Sandbox::start(settings)?;
        let candidates = config.plugins.iter();
        let candidates =
            candidates.filter_map(|(name, own)| Some((name.clone(), own.candidate()?)));
        let mut found = Self {
            plugins: Vec::new(),
            schemas: Vec::new(),
        };
        let mut wrong = Vec::new();
        for (plugins, is_candidate) in [(&config.plugins, false), (&candidates.collect(), true)] {
            for (name, loaded) in LoadedPlugin::prepare_each(&sandbox, plugins) {
                match loaded {
                    Ok(loaded) => found.plugins.push(json!({
                        "plugin": name, "candidate": is_candidate, "digest": loaded.digest,
                    })),
                    Err(error) => wrong.push(error.to_string()),
                }
            }
        }
        for (name, validation) in &config.validation {
            match Rules::load(name, validation) {
                Ok(rules) => found.schemas.push(rules),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        match wrong.is_empty() {
            true => Ok(found),
            false => Err(Unusable(wrong).into()),
        }
    }

    fn in_json(&self) -> Value {
        json!({
            "valid": true,
            "plugins": self.plugins,
            "validation": self.schemas.iter().map(rules_in_json).collect::<Vec<_>>(),
        })
    }

    fn told(&self, config: &Config) -> String {
        let (groups, plugins) = (config.groups.len(), config.plugins.len());
        let schemas = match self.schemas.len() {
            0 => String::new(),
            sets => format!(", the schemas of {sets} rules compile"),
        };
        format!("{groups} groups, {plugins} plugins load{schemas}")
    }
}

fn rules_in_json(rules: &Rules) -> Value {
    let set = rules.serving();
    let types: Vec<&str> = set.types().collect();
    json!({ "rules": rules.name(), "files": set.files(), "types": types })
}
