//! The effective value of every setting, and where it came from.
//!
//! It walks the table of keys over the document: what is written has its place, and what is not has the
//! default of the table, or what the readers decided. It must not know how anything is printed.

mod decided;
#[cfg(test)]
mod tests;

use super::Config;
use super::Kafka;
use super::common_names;
use super::finding::Place;
use super::interpolate;
use super::keys::{Key, Kind, TOP, Unless};
use super::places::Environment;
use super::secret::is_secret_source;
use super::tree::{self, Node};

/// What there is to be told of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// In the order of the documentation; items of lists and names in the order written.
    pub settings: Vec<Setting>,
    /// Variables that are set and change nothing.
    pub unused: Vec<Unused>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The way to it from the top, as `--set` takes it.
    pub path: String,
    /// What holds.
    pub value: Value,
    /// Where that came from.
    pub came: Came,
    /// Variables and files (`file:PATH`) that stand in it as `${...}`.
    pub through: Vec<String>,
    /// What it means.
    pub meaning: &'static str,
}

/// What holds of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing: what it is for is off.
    Nothing,
    /// This, as it would be written.
    Is(String),
    /// Something that is not known before the host runs; in words.
    Told(&'static str),
    /// Something that nobody may read.
    Hidden,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It is written nowhere.
    Default,
    /// From the file; line and column count from 1.
    File {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// From an environment variable, or from `--set` with its path.
    Outside(String),
}

/// A variable that stands for a setting, where something else says what that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// The variable.
    pub variable: &'static str,
    /// The setting that it stands for.
    pub setting: &'static str,
}

/// Tells of a valid configuration. `root` is its document, `before` the same with every `${...}` as written.
pub(super) fn explained(
    config: &Config,
    root: &Node,
    before: &Node,
    env: &Environment,
) -> Explained {
    let mut walk = Walk {
        config,
        settings: Vec::new(),
    };
    walk.keys(TOP, &[], Some((root, before)));
    let settings = walk.settings;
    let used = |variable: &str| {
        settings
            .iter()
            .any(|setting| matches!(&setting.came, Came::Outside(by) if by == variable))
    };
    let unused = common_names::NAMES
        .into_iter()
        .filter(|(variable, _)| common_names::value(env, variable).is_some() && !used(variable))
        .map(|(variable, setting)| Unused { variable, setting })
        .collect();
    Explained { settings, unused }
}

/// A value, and the same as it was written.
type Both<'n> = (&'n Node, &'n Node);

struct Walk<'a> {
    config: &'a Config,
    settings: Vec<Setting>,
}

impl Walk<'_> {
    fn keys(&mut self, keys: &[Key], above: &[&str], section: Option<Both<'_>>) {
        for key in keys {
            let mut path = above.to_vec();
            path.push(key.name);
            let value = section.and_then(|section| child(section, key.name));
            self.value(key, &key.kind, &path, value);
        }
    }

    fn value(&mut self, key: &Key, kind: &Kind, path: &[&str], value: Option<Both<'_>>) {
        let Some(both) = value else {
            match (kind, key.unless) {
                (Kind::Section(keys), Unless::Below) => self.keys(keys, path, None),
                _ => self.default(key, path),
            }
            return;
        };
        match (kind, &both.0.value) {
            (Kind::Either(one, other), node) => {
                let is_map = matches!(node, tree::Value::Map(_));
                let kind = if one.has_keys() == is_map { one } else { other };
                self.value(key, kind, path, Some(both));
            }
            (Kind::Section(keys), tree::Value::Map(_)) => self.keys(keys, path, Some(both)),
            (Kind::Named(_, of), tree::Value::Map(entries)) if !entries.is_empty() => {
                for entry in entries {
                    let mut path = path.to_vec();
                    path.push(&entry.key);
                    self.value(key, of, &path, child(both, &entry.key));
                }
            }
            (Kind::List(Kind::Section(keys)), tree::Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let position = index.to_string();
                    let mut path = path.to_vec();
                    path.push(id_of(item).unwrap_or(&position));
                    self.keys(keys, &path, position_of(both, index));
                }
            }
            _ => self.written(key, path, both),
        }
    }

    fn written(&mut self, key: &Key, path: &[&str], (node, before): Both<'_>) {
        let through = taken_from(before);
        let name = path.last().copied().unwrap_or_default();
        // The operator chose the names of these, so that a name may tell what the value is.
        let free = matches!(key.kind, Kind::Named(_, Kind::Text));
        let hidden = key.secret
            || (free && Kafka::is_secret_property(name))
            || through.iter().any(|from| is_secret_source(from));
        let came = match &node.place {
            Place::File { line, column } => Came::File {
                line: *line,
                column: *column,
            },
            Place::Override(by) => Came::Outside(by.clone()),
        };
        self.settings.push(Setting {
            path: path.join("."),
            value: match hidden {
                true => Value::Hidden,
                false => Value::Is(shown(node)),
            },
            came,
            through,
            meaning: key.meaning,
        });
    }

    fn default(&mut self, key: &Key, path: &[&str]) {
        let value = match key.unless {
            Unless::Is(text) => Value::Is(text.to_owned()),
            Unless::Depends(words) => {
                decided::value(self.config, path).map_or(Value::Told(words), Value::Is)
            }
            Unless::Nothing | Unless::Below | Unless::Required => Value::Nothing,
        };
        self.settings.push(Setting {
            path: path.join("."),
            value,
            came: Came::Default,
            through: Vec::new(),
            meaning: key.meaning,
        });
    }
}

/// The value of a key in a section, and the same as it was written.
fn child<'n>((node, before): Both<'n>, key: &str) -> Option<Both<'n>> {
    let find = |node: &'n Node| match &node.value {
        tree::Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
        _ => None,
    };
    Some((&find(node)?.value, &find(before)?.value))
}

fn position_of<'n>((node, before): Both<'n>, index: usize) -> Option<Both<'n>> {
    let at = |node: &'n Node| match &node.value {
        tree::Value::List(items) => items.get(index),
        _ => None,
    };
    Some((at(node)?, at(before)?))
}

/// What an item of a list is called in a path.
fn id_of(item: &Node) -> Option<&str> {
    let tree::Value::Map(entries) = &item.value else {
        return None;
    };
    let id = entries.iter().find(|entry| entry.key == "id")?;
    match &id.value.value {
        tree::Value::Scalar(id) => Some(&id.text),
        _ => None,
    }
}

fn taken_from(before: &Node) -> Vec<String> {
    match &before.value {
        // What came from outside has been through a shell, and `${` means nothing in it.
        tree::Value::Scalar(scalar) if matches!(before.place, Place::File { .. }) => {
            let taken = interpolate::taken_from(&scalar.text);
            taken.into_iter().map(str::to_owned).collect()
        }
        tree::Value::List(items) => items.iter().flat_map(taken_from).collect(),
        _ => Vec::new(),
    }
}

/// A value as it would be written in one line.
fn shown(node: &Node) -> String {
    match &node.value {
        tree::Value::Scalar(scalar) => scalar.text.clone(),
        tree::Value::List(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(", "))
        }
        tree::Value::Map(_) => "{}".to_owned(),
        tree::Value::Null | tree::Value::Bad => String::new(),
    }
}
