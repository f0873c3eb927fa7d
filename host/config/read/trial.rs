//! The sections `canary` and `shadow` of a plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::field::Field;
use super::plugins::{Others, component};
use super::section::{Context, Section, suggest};
use crate::config::{Origin, Plugin, Trial, Try};

/// One in a million: fewer keys than that are not there to be found.
const SHARE_DIGITS: usize = 4;

const WHOLE: u32 = 1_000_000;

/// At most one of the two.
pub(super) fn read<'t>(
    plugin: &mut Section<'t>,
    name: &str,
    others: &mut Others<'t>,
    context: &mut Context<'_>,
) -> Option<Trial> {
    let (canary_field, shadow_field) = (plugin.take("canary"), plugin.take("shadow"));
    let shadow = one(&shadow_field, name, others, context, |_, _| Try::Shadow);
    let canary = one(&canary_field, name, others, context, |section, context| {
        let share = section.require("share", "5%", context);
        let share_of_a_million = share_of_a_million(&share, context);
        section.take("by").choice(context, (), &[("key", ())]);
        Try::Canary { share_of_a_million }
    });
    if shadow.is_some() && canary.is_some() {
        let message = "a plugin has one candidate at a time: keep `canary` or `shadow`";
        canary_field.problem(context, message);
    }
    canary.or(shadow)
}

fn one<'t>(
    field: &Field<'t>,
    name: &str,
    others: &mut Others<'t>,
    context: &mut Context<'_>,
    how: impl FnOnce(&mut Section<'t>, &mut Context<'_>) -> Try,
) -> Option<Trial> {
    let mut section = field.section(context)?;
    let (path, origin) = candidate(&mut section, name, others, context);
    let how = how(&mut section, context);
    let after = section.take("promote_after");
    let promote_after = (!after.is_absent()).then(|| after.number(context, 1, 1..=u64::MAX));
    section.finish(context);
    Some(Trial {
        path,
        origin,
        how,
        promote_after,
    })
}

/// The component of a candidate: a file or reference of its own, or that of another plugin, which is not known yet.
fn candidate<'t>(
    section: &mut Section<'t>,
    of: &str,
    others: &mut Others<'t>,
    context: &mut Context<'_>,
) -> (PathBuf, Origin) {
    let field = section.take("plugin");
    if field.is_absent() {
        return component(section, context);
    }
    let path = section.take("path");
    if !path.is_absent() {
        let message = "a candidate is one component: keep `path`, or `plugin` with the name of another plugin";
        path.problem(context, message);
    }
    others.add_candidate(NamedCandidate {
        of: of.to_owned(),
        field,
    });
    Default::default()
}

/// A candidate that is the component of another plugin.
pub(super) struct NamedCandidate<'t> {
    /// The plugin that it is a candidate for.
    of: String,
    /// The name of the other one.
    field: Field<'t>,
}

impl NamedCandidate<'_> {
    /// Takes the component over, once every plugin has been read.
    pub(super) fn resolve(
        &self,
        plugins: &mut BTreeMap<String, Plugin>,
        names: &BTreeSet<String>,
        context: &mut Context<'_>,
    ) {
        let Some(name) = self.field.name(context) else {
            return;
        };
        if name == self.of {
            let message = "a plugin is no candidate for itself: name another one, or a `path`";
            return self.field.problem(context, message);
        }
        if !names.contains(name) {
            let advice = suggest(name, names.iter().map(String::as_str)).map_or_else(
                || "write it under `plugins`, or name a `path`".to_owned(),
                |known| format!("did you mean `{known}`?"),
            );
            let message = format!("there is no plugin `{name}`: {advice}");
            return self.field.problem(context, message);
        }
        // Where the other one could not be read, that has been said.
        let component = plugins
            .get(name)
            .map(|other| (other.path.clone(), other.origin.clone()));
        let trial = plugins
            .get_mut(&self.of)
            .and_then(|plugin| plugin.trial.as_mut());
        if let (Some((path, origin)), Some(trial)) = (component, trial) {
            trial.path = path;
            trial.origin = origin;
        }
    }
}

fn share_of_a_million(field: &Field<'_>, context: &mut Context<'_>) -> u32 {
    let Some(text) = field.text(context) else {
        return 0;
    };
    let share = parse(text);
    if share.is_none() {
        let message = format!(
            "`{text}` is no share: write a part of the keys above 0% and up to 100%, such as `5%` or `0.1%`"
        );
        field.problem(context, message);
    }
    share.unwrap_or_default()
}

fn parse(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?.trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > SHARE_DIGITS {
        return None;
    }
    let parts: u32 = format!("{whole}{fraction:0<SHARE_DIGITS$}").parse().ok()?;
    (1..=WHOLE).contains(&parts).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_in_percent() {
        for (text, share) in [
            ("5%", Some(50_000)),
            ("0.1%", Some(1_000)),
            ("100 %", Some(1_000_000)),
            ("0.0001%", Some(1)),
            ("100.0001%", None),
            ("0%", None),
            ("5", None),
            ("-5%", None),
            ("0.00001%", None),
            (".5%", None),
            ("five%", None),
            ("99999999999999999999%", None),
        ] {
            assert_eq!(parse(text), share, "{text}");
        }
    }
}
