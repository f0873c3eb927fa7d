//! The section `plugins`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::field::Field;
use super::section::{Context, Section};
use super::trial::NamedCandidate;
use super::validation::KnownRules;
use super::{grants, limits, registry, trial};
use crate::config::plugin::{STATE_QUOTA_DEFAULT_BYTES, TICK_DEFAULT};
use crate::config::{Journal, Origin, Plugin, Reload, places};

const ROTATE_DEFAULT_BYTES: u64 = 100 << 20;

/// What the groups must know of the plugins, whether or not these could be read.
#[derive(Default)]
pub(super) struct Known {
    pub(super) names: BTreeSet<String>,
    pub(super) journalling: BTreeSet<String>,
    pub(super) stateful: BTreeSet<String>,
    /// Rules for events.
    pub(super) rules: KnownRules,
    /// Whether there is a schema registry.
    pub(super) schema_registry: bool,
}

pub(super) fn read(
    field: &Field<'_>,
    context: &mut Context<'_>,
) -> (BTreeMap<String, Plugin>, Known) {
    let mut plugins = BTreeMap::new();
    let mut known = Known::default();
    let mut others = Others::default();
    for (name, field) in field.entries(context) {
        known.names.insert(name.to_owned());
        check_name(name, &field, context);
        let read = one(&field, Component::Written, &mut others, name, context);
        let Some((plugin, has_journal)) = read else {
            continue;
        };
        if has_journal {
            known.journalling.insert(name.to_owned());
        }
        if plugin.grants.state {
            known.stateful.insert(name.to_owned());
        }
        plugins.insert(name.to_owned(), plugin);
    }
    for candidate in others.candidates {
        candidate.resolve(&mut plugins, &known.names, context);
    }
    (plugins, known)
}

/// What the plugins of one configuration have to do with each other.
#[derive(Default)]
pub(super) struct Others<'t> {
    /// Whose journal each file is.
    journals: BTreeMap<PathBuf, String>,
    /// Candidates that are named as another plugin.
    candidates: Vec<NamedCandidate<'t>>,
}

impl<'t> Others<'t> {
    pub(super) fn add_candidate(&mut self, candidate: NamedCandidate<'t>) {
        self.candidates.push(candidate);
    }
}

fn check_name(name: &str, field: &Field<'_>, context: &mut Context<'_>) {
    let fits = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if !fits {
        let message = format!(
            "`{name}` cannot be the name of a plugin: use 1 to 64 of letters, digits, `_` and `-`"
        );
        context.problem(&field.place, message);
    }
}

/// Where the file of a plugin is named.
pub(super) enum Component {
    /// In the section, as `path`.
    Written,
    /// Nowhere: the build of the plugin writes it here, and may not have done so yet.
    Built(PathBuf),
}

impl Component {
    fn take(self, section: &mut Section<'_>, context: &mut Context<'_>) -> (PathBuf, Origin) {
        let Self::Built(path) = self else {
            return component(section, context);
        };
        let field = section.take("path");
        if !field.is_absent() {
            let message = format!(
                "unknown key `{}`: the build writes the component, to {}; a path is named only in a host's \
                 configuration",
                field.path,
                path.display()
            );
            context.problem(&field.place, message);
        }
        (path, Origin::default())
    }
}

pub(super) fn one<'t>(
    field: &Field<'t>,
    file: Component,
    others: &mut Others<'t>,
    name: &str,
    context: &mut Context<'_>,
) -> Option<(Plugin, bool)> {
    let mut section = field.section(context)?;
    let (path, origin) = file.take(&mut section, context);
    let grants_field = section.take("grants");
    let grants = grants::read(&grants_field, context);
    let tick = section.take("tick").duration(
        context,
        TICK_DEFAULT,
        Duration::from_millis(100)..=Duration::from_hours(24),
    );
    let entries = section.take("config").entries(context);
    let secret_parts = entries
        .iter()
        .flat_map(|(_, value)| value.secrets().iter().cloned());
    let secret_parts = secret_parts.collect();
    let settings = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.text(context)?.to_owned())))
        .collect();
    let journal_field = section.take("journal");
    let journal = journal(&journal_field, &mut others.journals, name, context);
    match (grants.journal, journal_field.is_absent()) {
        (true, true) => grants_field.problem(
            context,
            "the journal is granted but has no file: write for example `journal: { path: audit.log }` \
             beside it",
        ),
        (false, false) => context.problem(
            &journal_field.place,
            format!("`{}` is not granted: add `journal` to `{}`", journal_field.path, grants_field.path),
        ),
        _ => {}
    }
    let state_field = section.take("state");
    let state_quota_bytes = state_quota(&state_field, context);
    if !state_field.is_absent() && !grants.state {
        context.problem(
            &state_field.place,
            format!(
                "`{}` is not granted: add `state` to `{}`",
                state_field.path, grants_field.path
            ),
        );
    }
    let limits = limits::limits(&section.take("limits"), context);
    let recycle = limits::recycle(&section.take("recycle"), limits.memory_bytes, context);
    let reload = reload(&section.take("reload"), context);
    let trial = trial::read(&mut section, name, others, context);
    let transcripts = section.take("transcripts").flag(context, false);
    section.finish(context);
    let has_journal = grants.journal || !journal_field.is_absent();
    Some((
        Plugin {
            path,
            origin,
            grants,
            tick,
            settings,
            secret_parts,
            journal,
            state_quota_bytes,
            limits,
            recycle,
            reload,
            trial,
            transcripts,
            only_watches: false,
        },
        has_journal,
    ))
}

pub(super) fn component(section: &mut Section<'_>, context: &mut Context<'_>) -> (PathBuf, Origin) {
    let field = section.require("path", "plugins/audit.wasm", context);
    if let Some(remote) = registry::origin(&field, context) {
        return remote;
    }
    let Some(path) = field.file_path(context) else {
        return Default::default();
    };
    match std::fs::metadata(&path) {
        Ok(file) if file.is_file() => {}
        Ok(_) => field.problem(context, format!("{} is not a file", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => field.problem(
            context,
            format!(
                "there is no file {}: build the plugin, or correct the path",
                path.display()
            ),
        ),
        Err(error) => {
            field.problem(
                context,
                format!("the file {} cannot be read: {error}", path.display()),
            );
        }
    }
    (path, Origin::default())
}

fn journal(
    field: &Field<'_>,
    journals: &mut BTreeMap<PathBuf, String>,
    name: &str,
    context: &mut Context<'_>,
) -> Option<Journal> {
    let mut section = field.section(context)?;
    let path_field = section.require("path", "audit.log", context);
    let path = path_field.file_path(context);
    // A smaller journal would rotate more often than it is synced.
    let rotate_bytes =
        section
            .take("rotate")
            .bytes(context, ROTATE_DEFAULT_BYTES, 64 << 10..=1 << 40);
    let age = section.take("rotate_age");
    let rotate_age = (!age.is_absent()).then(|| {
        let longest = Duration::from_hours(24 * 3650);
        age.duration(context, longest, Duration::from_secs(1)..=longest)
    });
    let keep = section.take("keep");
    let keep = (!keep.is_absent()).then(|| keep.number(context, 1, 1..=1_000_000));
    section.finish(context);
    let path = path?;
    if let Some(other) = journals.insert(places::comparable(&path), name.to_owned()) {
        let message = format!(
            "plugin `{other}` writes its journal to the same file: give each journal its own, or lines \
             are lost after a crash"
        );
        path_field.problem(context, message);
    }
    Some(Journal {
        path,
        rotate_bytes,
        rotate_age,
        keep,
    })
}

fn state_quota(field: &Field<'_>, context: &mut Context<'_>) -> u64 {
    let Some(mut section) = field.section(context) else {
        return STATE_QUOTA_DEFAULT_BYTES;
    };
    let quota = section
        .take("quota")
        .bytes(context, STATE_QUOTA_DEFAULT_BYTES, 1 << 10..=1 << 40);
    section.finish(context);
    quota
}

fn reload(field: &Field<'_>, context: &mut Context<'_>) -> Reload {
    let default = Reload::default();
    let Some(mut section) = field.section(context) else {
        return default;
    };
    let reload = Reload {
        watch: section.take("watch").flag(context, default.watch),
        approve_grants: section
            .take("approve_grants")
            .flag(context, default.approve_grants),
    };
    section.finish(context);
    reload
}
