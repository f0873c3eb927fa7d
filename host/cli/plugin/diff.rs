//! `millrace plugin diff`: what one component may do, needs and offers that another does not. It reads files, and
//! runs nothing.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::cli::Output;
use crate::cli::run::ConfigArgs;
use crate::config;
use crate::sandbox::{ComponentFacts, digest_of};

/// Arguments of `millrace plugin diff`.
#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    /// The component that serves.
    old: PathBuf,
    /// The component that is to serve.
    new: PathBuf,
    /// Also compare with what this configuration grants; needs --plugin.
    #[arg(long, value_name = "FILE", requires = "plugin")]
    config: Option<PathBuf>,
    /// The plugin's name in that configuration.
    #[arg(long, requires = "config")]
    plugin: Option<String>,
    /// Print one JSON value; the same as --output json.
    #[arg(long)]
    json: bool,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Two files that cannot be compared, so that "they differ" and "it did not work" are two exit codes.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct CannotCompare(anyhow::Error);

/// One file.
struct Side {
    digest: String,
    bytes: usize,
    facts: ComponentFacts,
}

/// One thing that differs.
struct Change {
    what: &'static str,
    added: Vec<String>,
    removed: Vec<String>,
}

pub(super) fn run(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let same = compare(args).map_err(CannotCompare)?;
    Ok(ExitCode::from(u8::from(!same)))
}

/// Prints what differs. True where nothing does.
fn compare(args: &DiffArgs) -> anyhow::Result<bool> {
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    let granted = match (&args.config, &args.plugin) {
        (Some(config), Some(plugin)) => Some(granted(config, plugin)?),
        _ => None,
    };
    let changes = changes(&old.facts, &new.facts);
    let missing = granted.as_ref().map(|plugin| missing(&new, plugin));
    let same = old.digest == new.digest;
    if args.json || args.output == Output::Json {
        println!("{}", in_json(&old, &new, &changes, missing.as_deref()));
    } else {
        print!("{}", in_words(&old, &new, &changes, missing.as_deref()));
    }
    Ok(same)
}

fn read(path: &Path) -> anyhow::Result<Side> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let facts = ComponentFacts::read(&bytes)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("{} is no component", path.display()))?;
    Ok(Side {
        digest: digest_of(&bytes),
        bytes: bytes.len(),
        facts,
    })
}

fn granted(config: &Path, plugin: &str) -> anyhow::Result<config::Plugin> {
    let config = ConfigArgs {
        config: config.to_owned(),
        sets: Vec::new(),
    };
    let mut plugins = config.load()?.plugins;
    plugins
        .remove(plugin)
        .with_context(|| format!("the configuration has no plugin {plugin}"))
}

fn changes(old: &ComponentFacts, new: &ComponentFacts) -> Vec<Change> {
    let lists = [
        ("grants needed", &old.grants, &new.grants),
        ("imports", &old.imports, &new.imports),
        (
            "imports that this host does not have",
            &old.unknown_imports,
            &new.unknown_imports,
        ),
        ("exports", &old.exports, &new.exports),
    ];
    let lists = lists.map(|(what, old, new)| Change {
        what,
        added: only_in(new, old),
        removed: only_in(old, new),
    });
    lists
        .into_iter()
        .filter(|change| !change.added.is_empty() || !change.removed.is_empty())
        .collect()
}

fn only_in(these: &[String], those: &[String]) -> Vec<String> {
    let more = these.iter().filter(|each| !those.contains(each));
    more.cloned().collect()
}

/// What the configuration would have to allow before the new component could serve.
fn missing(new: &Side, plugin: &config::Plugin) -> Vec<String> {
    let grants = new.facts.grants.iter();
    let mut missing: Vec<String> = grants
        .filter(|grant| !plugin.grants.has(grant))
        .map(|grant| format!("grants: {grant}"))
        .collect();
    if new.facts.memory_bytes > plugin.limits.memory_bytes as u64 {
        missing.push(format!(
            "limits.memory: it begins with {} bytes, {} are allowed",
            new.facts.memory_bytes, plugin.limits.memory_bytes
        ));
    }
    if new.bytes as u64 > plugin.limits.component_bytes {
        missing.push(format!(
            "limits.component_size: it has {} bytes, {} are allowed",
            new.bytes, plugin.limits.component_bytes
        ));
    }
    missing
}

fn in_json(old: &Side, new: &Side, changes: &[Change], missing: Option<&[String]>) -> Value {
    let side = |side: &Side| {
        json!({
            "version": side.facts.version,
            "digest": side.digest,
            "bytes": side.bytes,
            "memory_bytes": side.facts.memory_bytes,
            "grants": side.facts.grants,
            "imports": side.facts.imports,
            "exports": side.facts.exports,
        })
    };
    let changed = |change: &Change| json!({ "what": change.what, "added": change.added, "removed": change.removed });
    json!({
        "same": old.digest == new.digest,
        "old": side(old),
        "new": side(new),
        "changes": changes.iter().map(changed).collect::<Vec<_>>(),
        "not_allowed": missing,
    })
}

fn in_words(old: &Side, new: &Side, changes: &[Change], missing: Option<&[String]>) -> String {
    if old.digest == new.digest {
        return "the same component\n".to_owned();
    }
    let name = |side: &Side| {
        let version = side.facts.version.as_deref().unwrap_or("no version");
        format!("{version} ({})", &side.digest[..12])
    };
    let mut words = format!("{} -> {}\n", name(old), name(new));
    for (what, before, after) in [
        ("size", old.bytes as u64, new.bytes as u64),
        (
            "memory at the start",
            old.facts.memory_bytes,
            new.facts.memory_bytes,
        ),
    ] {
        if before != after {
            words.push_str(&format!("{what}: {before} -> {after} bytes\n"));
        }
    }
    for change in changes {
        words.push_str(&format!("{}:\n", change.what));
        let added = change.added.iter().map(|each| ('+', each));
        let removed = change.removed.iter().map(|each| ('-', each));
        for (sign, each) in added.chain(removed) {
            words.push_str(&format!("  {sign} {each}\n"));
        }
    }
    if changes.is_empty() {
        words.push_str("it imports, needs and exports the same\n");
    }
    match missing {
        Some([]) => words.push_str("the configuration allows all that it needs\n"),
        Some(missing) => {
            words.push_str("the configuration does not allow:\n");
            missing
                .iter()
                .for_each(|each| words.push_str(&format!("  {each}\n")));
        }
        None => {}
    }
    words
}
