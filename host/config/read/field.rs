//! Reading one value of the tree as the type that is expected of it.
//!
//! Each reader reports what is wrong and returns the default, so that reading goes on and finds the
//! next problem too. This must not know any key.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::section::{Context, Section, suggest};
use crate::config::finding::Place;
use crate::config::tree::{Node, Scalar, Value};
use crate::config::units;

/// The value of one key, or its absence.
pub(crate) struct Field<'t> {
    /// The way to it from the top, as `--set` takes it.
    pub(crate) path: String,
    /// Where its key stands; where its section starts, if it is absent.
    pub(crate) place: Place,
    pub(crate) node: Option<&'t Node>,
}

impl<'t> Field<'t> {
    pub(crate) fn is_absent(&self) -> bool {
        self.node.is_none()
    }

    /// Whether it is exactly this word.
    pub(crate) fn says(&self, word: &str) -> bool {
        matches!(self.node.map(|node| &node.value), Some(Value::Scalar(scalar)) if scalar.text == word)
    }

    /// Where its value stands.
    pub(crate) fn value_place(&self) -> &Place {
        self.node.map_or(&self.place, |node| &node.place)
    }

    /// Reports a problem of the value.
    pub(crate) fn problem(&self, context: &mut Context<'_>, message: impl Display) {
        context.problem(self.value_place(), format!("`{}`: {message}", self.path));
    }

    fn wrong_type(&self, context: &mut Context<'_>, wanted: &str) {
        let found = match self.node.map(|node| &node.value) {
            Some(Value::Null) => {
                let message = format!("`{}` has no value: write {wanted}", self.path);
                return context.problem(&self.place, message);
            }
            Some(Value::Scalar(_)) => "this is a single value",
            Some(Value::List(_)) => "this is a list",
            Some(Value::Map(_)) => "this is a section of keys",
            Some(Value::Bad) | None => return,
        };
        self.problem(context, format!("{found}: write {wanted}"));
    }

    fn scalar(&self, context: &mut Context<'_>, wanted: &str) -> Option<&'t Scalar> {
        match &self.node?.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => {
                self.wrong_type(context, wanted);
                None
            }
        }
    }

    /// A mapping with fixed keys.
    pub(crate) fn section(&self, context: &mut Context<'_>) -> Option<Section<'t>> {
        let node = self.node?;
        match &node.value {
            Value::Map(entries) => {
                Some(Section::new(self.path.clone(), self.place.clone(), entries))
            }
            _ if self.path.is_empty() => {
                context.problem(
                    &node.place,
                    "this is not a configuration: write `groups:` and so on",
                );
                None
            }
            _ => {
                self.wrong_type(context, "its keys below it, or remove it");
                None
            }
        }
    }

    /// A mapping whose keys the operator chooses.
    pub(crate) fn entries(&self, context: &mut Context<'_>) -> Vec<(&'t str, Field<'t>)> {
        let Some(node) = self.node else {
            return Vec::new();
        };
        let Value::Map(entries) = &node.value else {
            self.wrong_type(context, "names with their values below it, or remove it");
            return Vec::new();
        };
        entries
            .iter()
            .map(|entry| {
                let path = format!("{}.{}", self.path, entry.key);
                let place = entry.key_place.clone();
                (
                    entry.key.as_str(),
                    Field {
                        path,
                        place,
                        node: Some(&entry.value),
                    },
                )
            })
            .collect()
    }

    /// A sequence.
    pub(crate) fn items(&self, context: &mut Context<'_>) -> Vec<Field<'t>> {
        let Some(node) = self.node else {
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            self.wrong_type(context, "a list, each item after a `-`");
            return Vec::new();
        };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| Field {
                path: format!("{}.{index}", self.path),
                place: item.place.clone(),
                node: Some(item),
            })
            .collect()
    }

    /// A text as it is written, empty included.
    pub(crate) fn text(&self, context: &mut Context<'_>) -> Option<&'t str> {
        self.scalar(context, "one value, `\"\"` for an empty one")
            .map(|scalar| scalar.text.as_str())
    }

    /// What in its text nobody may read, whatever its key.
    pub(crate) fn secrets(&self) -> &'t [String] {
        match self.node.map(|node| &node.value) {
            Some(Value::Scalar(scalar)) => &scalar.secrets,
            _ => &[],
        }
    }

    /// A text that says something.
    pub(crate) fn name(&self, context: &mut Context<'_>) -> Option<&'t str> {
        let text = self.scalar(context, "a name")?.text.as_str();
        if text.trim().is_empty() {
            self.problem(context, "must not be empty");
            return None;
        }
        Some(text)
    }

    /// A path; relative ones start at the folder of the configuration.
    pub(crate) fn file_path(&self, context: &mut Context<'_>) -> Option<PathBuf> {
        let text = self.name(context)?;
        if text == "~" || text.starts_with("~/") {
            let rest = text.trim_start_matches('~');
            self.problem(
                context,
                format!("`~` is not expanded: write `${{HOME}}{rest}`"),
            );
            return None;
        }
        Some(context.base.join(text))
    }

    /// An address to listen on.
    pub(crate) fn address(&self, context: &mut Context<'_>) -> Option<SocketAddr> {
        let text = self
            .scalar(context, "an address such as `127.0.0.1:8080`")?
            .text
            .as_str();
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let message = format!(
                    "`{text}` is not an IP address and port: write for example `127.0.0.1:8080`, or \
                     `0.0.0.0:8080` for all interfaces"
                );
                self.problem(context, message);
                None
            }
        }
    }

    /// A duration with its unit.
    pub(crate) fn duration(
        &self,
        context: &mut Context<'_>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let wanted = "a duration such as `10s`";
        self.measured(
            context,
            wanted,
            units::duration,
            units::show_duration,
            range,
        )
        .unwrap_or(default)
    }

    /// A duration with its unit, or a word that stands for none.
    pub(crate) fn duration_or(
        &self,
        context: &mut Context<'_>,
        word: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let wanted = format!("a duration such as `30d`, or `{word}`");
        if self.scalar(context, &wanted)?.text == word {
            return None;
        }
        self.measured(
            context,
            &wanted,
            units::duration,
            units::show_duration,
            range,
        )
    }

    /// A size with its unit, in bytes.
    pub(crate) fn bytes(
        &self,
        context: &mut Context<'_>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        self.measured(
            context,
            "a size such as `4MiB`",
            units::bytes,
            units::show_bytes,
            range,
        )
        .unwrap_or(default)
    }

    /// A size with its unit, as bytes that fit into memory.
    pub(crate) fn memory_bytes(
        &self,
        context: &mut Context<'_>,
        default: usize,
        range: RangeInclusive<u64>,
    ) -> usize {
        usize::try_from(self.bytes(context, default as u64, range)).unwrap_or(usize::MAX)
    }

    fn measured<T: PartialOrd + Copy>(
        &self,
        context: &mut Context<'_>,
        wanted: &str,
        read: fn(&str) -> Result<T, units::UnitError>,
        show: fn(T) -> String,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let text = self.scalar(context, wanted)?.text.as_str();
        match read(text) {
            Ok(value) if range.contains(&value) => return Some(value),
            Ok(_) => {
                let (min, max) = (show(*range.start()), show(*range.end()));
                self.problem(
                    context,
                    format!("`{text}` is out of range: write {min} to {max}"),
                );
            }
            Err(error) => self.problem(context, error),
        }
        None
    }

    /// A number.
    pub(crate) fn number<T: PartialOrd + Copy + Display + FromStr>(
        &self,
        context: &mut Context<'_>,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        let Some(scalar) = self.scalar(context, &wanted) else {
            return default;
        };
        let text = &scalar.text;
        match text.trim().parse::<T>() {
            Ok(_) if scalar.quoted => {
                self.problem(
                    context,
                    format!("this is a string: write {text} without quotes"),
                );
                default
            }
            Ok(value) if range.contains(&value) => value,
            _ => {
                let (min, max) = (range.start(), range.end());
                let wrong = match (text.trim().parse::<T>(), text.trim().parse::<f64>()) {
                    (_, Err(_)) => "is not a number",
                    // Only a type of whole numbers cannot hold what is a number with a fraction.
                    (Err(_), Ok(value)) if value.fract() != 0.0 => "is not a whole number",
                    _ => "is out of range",
                };
                self.problem(context, format!("`{text}` {wrong}: write {min} to {max}"));
                default
            }
        }
    }

    /// Yes or no.
    pub(crate) fn flag(&self, context: &mut Context<'_>, default: bool) -> bool {
        self.choice(context, default, &[("true", true), ("false", false)])
    }

    /// One of some words.
    pub(crate) fn choice<T: Copy>(
        &self,
        context: &mut Context<'_>,
        default: T,
        choices: &[(&'static str, T)],
    ) -> T {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let wanted = format!("one of {}", words.join(", "));
        let Some(scalar) = self.scalar(context, &wanted) else {
            return default;
        };
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == scalar.text) {
            return *value;
        }
        let advice = suggest(&scalar.text, words.iter().copied()).map_or_else(
            || format!("write {wanted}"),
            |known| format!("did you mean `{known}`?"),
        );
        self.problem(
            context,
            format!("`{}` is not {wanted}: {advice}", scalar.text),
        );
        default
    }

    /// The name of a topic that Kafka would take.
    pub(crate) fn topic(&self, context: &mut Context<'_>) -> Option<String> {
        let text = self.scalar(context, "the name of a topic")?.text.as_str();
        if is_topic(text) {
            return Some(text.to_owned());
        }
        self.problem(context, not_a_topic(text));
        None
    }
}

/// Whether Kafka takes a topic of this name.
pub(crate) fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && !matches!(name, "." | "..")
}

/// What to say of a name that is not a topic's.
pub(crate) fn not_a_topic(name: &str) -> String {
    format!(
        "`{name}` cannot be the name of a topic: use 1 to 249 of letters, digits, `.`, `_` and `-`, \
         and not `.` or `..`"
    )
}
