//! The sections `canary` and `shadow` of a plugin.

use super::field::Field;
use super::plugins::component;
use super::section::{Context, Section};
use crate::config::{Trial, Try};

/// One in a million: fewer keys than that are not there to be found.
const SHARE_DIGITS: usize = 4;

const WHOLE: u32 = 1_000_000;

/// At most one of the two.
pub(super) fn read(plugin: &mut Section<'_>, context: &mut Context<'_>) -> Option<Trial> {
    let (canary_field, shadow_field) = (plugin.take("canary"), plugin.take("shadow"));
    let shadow = one(&shadow_field, context, |_, _| Try::Shadow);
    let canary = one(&canary_field, context, |section, context| {
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

fn one(
    field: &Field<'_>,
    context: &mut Context<'_>,
    how: impl FnOnce(&mut Section<'_>, &mut Context<'_>) -> Try,
) -> Option<Trial> {
    let mut section = field.section(context)?;
    let path = component(&mut section, context);
    let how = how(&mut section, context);
    let after = section.take("promote_after");
    let promote_after = (!after.is_absent()).then(|| after.number(context, 1, 1..=u64::MAX));
    section.finish(context);
    Some(Trial {
        path,
        how,
        promote_after,
    })
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
