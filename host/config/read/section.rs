//! Reading one section of the tree: which keys it has and which it should have.
//!
//! This must not know any key.

use std::path::Path;

use super::field::Field;
use crate::config::finding::{Findings, Place};
use crate::config::places::Environment;
use crate::config::tree::{Entry, Node};

/// What every reader needs.
pub(crate) struct Context<'a> {
    pub(crate) findings: Findings,
    pub(crate) base: &'a Path,
    pub(crate) env: &'a Environment,
}

impl Context<'_> {
    pub(crate) fn problem(&mut self, place: &Place, message: impl Into<String>) {
        self.findings.add(place, message);
    }
}

/// A mapping whose keys are fixed. Every key there is must be taken before [`Section::finish`].
pub(crate) struct Section<'t> {
    path: String,
    pub(crate) place: Place,
    entries: &'t [Entry],
    taken: Vec<&'static str>,
}

impl<'t> Section<'t> {
    /// The whole document.
    pub(crate) fn root(node: &'t Node, context: &mut Context<'_>) -> Option<Self> {
        Field {
            path: String::new(),
            place: node.place.clone(),
            node: Some(node),
        }
        .section(context)
    }

    /// The keys below `path`.
    pub(crate) fn new(path: String, place: Place, entries: &'t [Entry]) -> Self {
        Self {
            path,
            place,
            entries,
            taken: Vec::new(),
        }
    }

    /// The value of `key`, which may be absent.
    pub(crate) fn take(&mut self, key: &'static str) -> Field<'t> {
        self.taken.push(key);
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        match self.entries.iter().find(|entry| entry.key == key) {
            Some(entry) => Field {
                path,
                place: entry.key_place.clone(),
                node: Some(&entry.value),
            },
            None => Field {
                path,
                place: self.place.clone(),
                node: None,
            },
        }
    }

    /// The value of `key`; reported when it is absent, with an example of what to write.
    pub(crate) fn require(
        &mut self,
        key: &'static str,
        example: &str,
        context: &mut Context<'_>,
    ) -> Field<'t> {
        let field = self.take(key);
        if field.is_absent() {
            let message = format!(
                "`{}` is missing: write for example `{key}: {example}`",
                field.path
            );
            context.problem(&self.place, message);
        }
        field
    }

    /// Reports the keys that nobody took.
    pub(crate) fn finish(self, context: &mut Context<'_>) {
        for entry in self.entries {
            if self.taken.contains(&entry.key.as_str()) {
                continue;
            }
            let within = if self.path.is_empty() {
                String::new()
            } else {
                format!(" in `{}`", self.path)
            };
            let advice = suggest(&entry.key, self.taken.iter().copied()).map_or_else(
                || format!("the keys here are {}", self.taken.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            let message = format!("unknown key `{}`{within}: {advice}", entry.key);
            context.problem(&entry.key_place, message);
        }
    }
}

/// What may be meant by a word that is not known.
#[must_use]
pub fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    known
        .map(|known| {
            let folded = known.to_lowercase().replace('-', "_");
            (
                strsim::normalized_damerau_levenshtein(&word, &folded),
                known,
            )
        })
        // Below this, a suggestion is more often wrong than right.
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
