//! From the tree to the validated types, with every error at once.
//!
//! Each section has its own file; this one reads the document and what concerns the whole of it. It
//! must not know how a value is spelled in YAML.

mod access;
mod breaker;
mod correlation;
mod dead_letter;
mod dedup;
pub(crate) mod field;
mod gateways;
mod grants;
mod groups;
mod http_gateway;
mod kafka;
mod limits;
mod manifest;
mod otlp;
mod plugins;
mod producer;
mod registry;
pub(crate) mod rehearsed;
mod retry;
mod routes;
mod schema_registry;
pub(crate) mod section;
mod security;
mod topics;
mod trial;
mod validation;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::explain::{self, Explained};
use super::finding::{ConfigError, Findings, Place};
use super::places::Environment;
use super::tree::{self, Node};
use super::{Admin, Config, Ingest, Kafka, LANES_MAX, Producing};
use super::{common_names, interpolate, overrides, places};
use field::Field;
pub use grants::add as add_grant;
pub use manifest::manifest;
pub use section::suggest;
use section::{Context, Section};

/// A configuration is a page or two; a larger file was not meant.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);

/// Reads and checks a configuration file. `env` is the environment (see
/// [`super::process_environment`]), `sets` are the arguments of `--set`.
///
/// # Errors
/// Everything that is wrong with the file, or that it cannot be read.
pub fn load(
    path: &Path,
    env: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Config, ConfigError> {
    let name = path.display().to_string();
    let text = file_text(path, &name)?;
    parse(
        &text,
        &name,
        path.parent().unwrap_or(Path::new("")),
        env,
        sets,
    )
}

/// Reads and checks the text of a configuration. `name` stands for it in messages; relative paths
/// start at `base`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(
    text: &str,
    name: &str,
    base: &Path,
    env: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Config, ConfigError> {
    let env: Environment = env.collect();
    let (root, mut context) = prepared(text, name, base, &env, Some(sets))?;
    let config = document(&root, &mut context);
    match config {
        Some(config) if context.findings.is_empty() => Ok(config),
        _ => Err(context.findings.into_error()),
    }
}

/// The effective value of every setting of a configuration file, and where it came from. The arguments are those of
/// [`load`].
///
/// # Errors
/// Everything that is wrong with the file, or that it cannot be read.
pub fn explain(
    path: &Path,
    env: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Explained, ConfigError> {
    load_explained(path, env, sets).map(|(_, explained)| explained)
}

/// A configuration file as [`load`] reads it, and what [`explain`] tells of the very same text.
///
/// # Errors
/// Everything that is wrong with the file, or that it cannot be read.
pub fn load_explained(
    path: &Path,
    env: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<(Config, Explained), ConfigError> {
    let name = path.display().to_string();
    let text = file_text(path, &name)?;
    let base = path.parent().unwrap_or(Path::new(""));
    explain_text(&text, &name, base, &env.collect(), sets)
}

pub(super) fn explain_text(
    text: &str,
    name: &str,
    base: &Path,
    env: &Environment,
    sets: &[String],
) -> Result<(Config, Explained), ConfigError> {
    let (mut root, findings) = written(text, name, env, Some(sets))?;
    let before = root.clone();
    let mut context = completed(&mut root, findings, base, env);
    match document(&root, &mut context) {
        Some(config) if context.findings.is_empty() => {
            let explained = explain::explained(&config, &root, &before, env);
            Ok((config, explained))
        }
        _ => Err(context.findings.into_error()),
    }
}

/// Reads how the cluster is reached and written to, and nothing else of a configuration: for commands that need no
/// plugin. Without a file, everything comes from `sets` and the environment.
///
/// # Errors
/// Everything that is wrong with these two sections, or that the file cannot be read.
pub fn connection(
    path: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<(Kafka, Producing), ConfigError> {
    let env: Environment = env.collect();
    let name = path.map_or_else(
        || "the command line".to_owned(),
        |path| path.display().to_string(),
    );
    let text = path.map_or(Ok(String::new()), |path| file_text(path, &name))?;
    let base = path.and_then(Path::parent).unwrap_or(Path::new(""));
    let (root, mut context) = prepared(&text, &name, base, &env, Some(sets))?;
    let read = Section::root(&root, &mut context).map(|mut section| {
        let (kafka, _) = kafka::read(&section.take("kafka"), &mut context);
        let ingest = section.take("ingest").section(&mut context);
        let producing = ingest.map(|mut ingest| {
            producer::read(
                &ingest.take("producer"),
                kafka.message_max_bytes,
                &mut context,
            )
        });
        (kafka, producing.unwrap_or_default())
    });
    match read {
        Some(read) if context.findings.is_empty() => Ok(read),
        _ => Err(context.findings.into_error()),
    }
}

/// The text of a configuration file, which `name` stands for in messages.
fn file_text(path: &Path, name: &str) -> Result<String, ConfigError> {
    let unreadable = |message: String| {
        let mut findings = Findings::new(name);
        findings.add_unplaced(message);
        findings.into_error()
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| unreadable(format!("the configuration cannot be read: {error}")))?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(unreadable(
            "the configuration is larger than 1MiB".to_owned(),
        ));
    }
    Ok(text)
}

/// The text as a tree, with everything in its place that comes from elsewhere. Without `sets`, the
/// environment changes nothing either, but for the variables that the text names.
fn prepared<'a>(
    text: &str,
    name: &str,
    base: &'a Path,
    env: &'a Environment,
    sets: Option<&[String]>,
) -> Result<(Node, Context<'a>), ConfigError> {
    let (mut root, findings) = written(text, name, env, sets)?;
    let context = completed(&mut root, findings, base, env);
    Ok((root, context))
}

/// The text as a tree, with what the environment and options say in the place of it; `${...}` as written.
fn written(
    text: &str,
    name: &str,
    env: &Environment,
    sets: Option<&[String]>,
) -> Result<(Node, Findings), ConfigError> {
    let mut findings = Findings::new(name);
    let mut root = match tree::parse(text, &mut findings) {
        Ok(root) => root,
        Err((place, message)) => {
            // Nothing else is worth saying about a text that is not YAML.
            let mut alone = Findings::new(name);
            alone.add(&place, message);
            return Err(alone.into_error());
        }
    };
    if let Some(sets) = sets {
        overrides::apply(&mut root, env, sets, &mut findings);
        common_names::fill(&mut root, env, &mut findings);
    }
    Ok((root, findings))
}

/// Replaces every `${...}`, and gives what the readers need.
fn completed<'a>(
    root: &mut Node,
    mut findings: Findings,
    base: &'a Path,
    env: &'a Environment,
) -> Context<'a> {
    interpolate::interpolate(root, &interpolate::Source { env, base }, &mut findings);
    Context {
        findings,
        base,
        env,
    }
}

fn document(root: &Node, context: &mut Context<'_>) -> Option<Config> {
    let mut section = Section::root(root, context)?;
    let (kafka, session_timeout) = kafka::read(&section.take("kafka"), context);
    let (plugins, mut known) = plugins::read(&section.take("plugins"), context);
    let (validation, rules) = validation::read(&section.take("validation"), context);
    known.rules = rules;
    let schema_registry_field = section.take("schema_registry");
    let schema_registry = schema_registry::read(&schema_registry_field, context);
    known.schema_registry = !schema_registry_field.is_absent();
    let groups_field = section.take("groups");
    let groups = groups::read(&groups_field, &known, context);
    let ingest_field = section.take("ingest");
    let ingest = gateways::ingest(
        &ingest_field,
        kafka.message_max_bytes,
        &known.rules,
        context,
    );
    let admin = gateways::admin(&section.take("admin"), context);
    let topics = topics::read(&section.take("topics"), context);
    let correlation = correlation::read(&section.take("correlation"), context);

    let drain = section.take("drain_timeout");
    let drain_timeout = drain.duration(
        context,
        DRAIN_TIMEOUT_DEFAULT,
        Duration::from_millis(100)..=Duration::from_hours(1),
    );
    session_timeout.check_drain(&drain, drain_timeout, context);
    check_addresses(&ingest, &admin, &ingest_field.place, context);
    if groups_field.is_absent() && ingest_field.is_absent() {
        context.problem(
            &root.place,
            "there is nothing to do: write at least one group under `groups`, or a gateway under \
             `ingest`",
        );
    }
    let compile_cache = compile_cache(&section.take("compile_cache"), context);
    let registry = registry::read(&section.take("registry"), context);
    let tracing = otlp::read(context);
    section.finish(context);
    let config = Config {
        kafka,
        plugins,
        validation,
        schema_registry,
        groups,
        topics,
        correlation,
        ingest,
        admin,
        drain_timeout,
        compile_cache,
        registry,
        tracing,
    };
    if config.lanes() > LANES_MAX {
        let message = format!(
            "the groups have {} lanes in all, and each lane has an instance of its plugin: lower \
             `concurrency` until there are at most {LANES_MAX}",
            config.lanes()
        );
        context.problem(&groups_field.place, message);
    }
    Some(config)
}

/// A folder, or `off`. Where it is absent and the environment names no folder, there is none.
fn compile_cache(field: &Field<'_>, context: &mut Context<'_>) -> Option<PathBuf> {
    match field.node {
        None => places::default_compile_cache(context.env),
        Some(_) if field.says("off") => None,
        Some(_) => field.file_path(context),
    }
}

fn check_addresses(ingest: &Ingest, admin: &Admin, place: &Place, context: &mut Context<'_>) {
    // Port 0 lets the system choose, which never collides.
    if let Some(grpc) = &ingest.grpc
        && grpc.listen == admin.listen
        && admin.listen.port() != 0
    {
        let message = format!(
            "`ingest.grpc.listen` and `admin.listen` are both {}: give each its own port",
            admin.listen
        );
        context.problem(place, message);
    }
}

#[cfg(test)]
mod tests;
