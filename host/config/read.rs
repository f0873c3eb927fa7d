//! From the tree to the validated types, with every error at once.
//!
//! Each section has its own file; this one reads the document and what concerns the whole of it. It
//! must not know how a value is spelled in YAML.

mod breaker;
mod dead_letter;
mod dedup;
mod field;
mod gateways;
mod grants;
mod groups;
mod kafka;
mod limits;
mod plugins;
mod retry;
mod section;
mod trial;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::finding::{ConfigError, Findings, Place};
use super::places::Environment;
use super::tree::{self, Node};
use super::{Admin, Config, Ingest, LANES_MAX, interpolate, overrides, places};
use field::Field;
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
    let unreadable = |message: String| {
        let mut findings = Findings::new(&name);
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
    overrides::apply(&mut root, &env, sets, &mut findings);
    interpolate::interpolate(
        &mut root,
        &interpolate::Source { env: &env, base },
        &mut findings,
    );

    let mut context = Context {
        findings,
        base,
        env: &env,
    };
    let config = document(&root, &mut context);
    match config {
        Some(config) if context.findings.is_empty() => Ok(config),
        _ => Err(context.findings.into_error()),
    }
}

fn document(root: &Node, context: &mut Context<'_>) -> Option<Config> {
    let mut section = Section::root(root, context)?;
    let (kafka, session_timeout) = kafka::read(&section.take("kafka"), context);
    let (plugins, known) = plugins::read(&section.take("plugins"), context);
    let groups_field = section.take("groups");
    let groups = groups::read(&groups_field, &known, context);
    let ingest_field = section.take("ingest");
    let ingest = gateways::ingest(&ingest_field, kafka.message_max_bytes, context);
    let admin = gateways::admin(&section.take("admin"), context);

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
    section.finish(context);
    let config = Config {
        kafka,
        plugins,
        groups,
        ingest,
        admin,
        drain_timeout,
        compile_cache,
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
