//! Rules that events have to keep: named, so that gateways and groups share them. It must not know what is in a schema.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::TopicPattern;

/// Rules that events have to keep, in stages: the envelope, the type of the event, and what that type says of the
/// payload. At least one of the two parts is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validation {
    /// Folder of the schemas. Every `*.json` below it is one, and they may refer to each other.
    pub folder: PathBuf,
    /// The schema of every event's value, as a file in the folder.
    pub envelope: Option<String>,
    /// The types of events; none asks for no type.
    pub types: Option<EventTypes>,
    /// Whether the keyword `format` is a rule, or only a remark.
    pub formats: bool,
}

/// The types of events, each with a schema of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTypes {
    /// Where an event says its type.
    pub source: TypeSource,
    /// The schema of each type.
    pub schemas: TypeSchemas,
    /// What of the value that schema is of: a JSON pointer (RFC 6901), empty for the whole.
    pub payload: String,
    /// Whether an event passes whose type has no schema.
    pub accept_unknown: bool,
}

/// Where an event says its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeSource {
    /// A header by name.
    Header(String),
    /// A JSON pointer (RFC 6901) into the value, not empty.
    Json(String),
    /// The CloudEvents attribute `type`: the header `ce_type`.
    CloudEvents,
}

/// The schema of each type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeSchemas {
    /// `TYPE.json` for each type, in this folder below the folder of the schemas; empty for that folder itself.
    Folder(String),
    /// Type to file, in the folder of the schemas.
    Files(BTreeMap<String, String>),
}

/// Topics, each with the name of the rules that its events have to keep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicRules {
    /// By the topic's name.
    pub by_name: BTreeMap<String, String>,
    /// Of every topic that matches and is not named. Where two match one topic, one of them is narrower, or they have
    /// the same rules.
    pub by_pattern: Vec<(TopicPattern, String)>,
}

impl TopicRules {
    /// The name of the rules of a topic: by its name, else by the narrowest pattern that matches it.
    #[must_use]
    pub fn of(&self, topic: &str) -> Option<&str> {
        if let Some(rules) = self.by_name.get(topic) {
            return Some(rules);
        }
        let matching = self.by_pattern.iter();
        let matching = matching.filter(|(pattern, _)| pattern.matches(topic));
        let narrowest = matching.reduce(|best, next| {
            if next.0.is_narrower_than(&best.0) {
                next
            } else {
                best
            }
        });
        narrowest.map(|(_, rules)| rules.as_str())
    }

    /// Two patterns that match one topic, of which nothing says whose rules hold.
    pub(super) fn undecided(&self) -> Option<[&TopicPattern; 2]> {
        for (at, (one, rules)) in self.by_pattern.iter().enumerate() {
            for (other, others_rules) in &self.by_pattern[at + 1..] {
                let decided = rules == others_rules
                    || one.is_narrower_than(other)
                    || other.is_narrower_than(one);
                if !decided && one.shared_with(other).is_some() {
                    return Some([one, other]);
                }
            }
        }
        None
    }
}
