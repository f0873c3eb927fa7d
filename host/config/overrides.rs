//! Values from outside of the file: `MILLRACE__SECTION__KEY` and `--set section.key=value`.
//!
//! They are put into the tree before it is read, so that one reader checks everything, and a mistake
//! in a path is an unknown key like any other. This must not know which keys exist, but for the
//! sections whose keys are free and may hold dots.

use super::finding::{Findings, Place};
use super::places::Environment;
use super::tree::{self, Entry, Node, Scalar, Value};

const PREFIX: &str = "MILLRACE__";

/// Puts the environment into the tree, then the options, which win.
pub(super) fn apply(root: &mut Node, env: &Environment, sets: &[String], findings: &mut Findings) {
    for (name, value) in env {
        let Some(path) = name
            .get(..PREFIX.len())
            .filter(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
            .map(|_| &name[PREFIX.len()..])
        else {
            continue;
        };
        let place = Place::Override(name.clone());
        // Never parsed: a password may look like anything.
        let value = Scalar {
            text: value.clone(),
            quoted: false,
            secrets: Vec::new(),
        };
        let node = Node {
            place: place.clone(),
            value: Value::Scalar(value),
        };
        let path: Vec<&str> = path.split("__").collect();
        put(root, &path, Matching::Loose, node, &place, findings);
    }
    for set in sets {
        let Some((path, value)) = set.split_once('=') else {
            let place = Place::Override(format!("--set {set}"));
            findings.add(&place, "there is no `=`: write `--set section.key=value`");
            continue;
        };
        let place = Place::Override(format!("--set {path}"));
        let Some(node) = tree::parse_scalar(value, &place) else {
            findings.add(
                &place,
                "takes a single value; write lists and sections in the file",
            );
            continue;
        };
        let path: Vec<&str> = path.split('.').collect();
        put(root, &path, Matching::Exact, node, &place, findings);
    }
}

/// How the words of a path find the keys of the file.
#[derive(Clone, Copy, PartialEq)]
enum Matching {
    /// As written.
    Exact,
    /// Without regard to case, and `_` stands for `-` and `.` too, which a shell takes in no name.
    Loose,
}

impl Matching {
    fn equal(self, key: &str, word: &str) -> bool {
        let folded = |c: char| match c {
            '-' | '.' => '_',
            c => c.to_ascii_lowercase(),
        };
        key == word || (self == Self::Loose && key.chars().map(folded).eq(word.chars().map(folded)))
    }
}

fn put(
    root: &mut Node,
    path: &[&str],
    matching: Matching,
    node: Node,
    place: &Place,
    findings: &mut Findings,
) {
    let result = if path.iter().any(|word| word.is_empty()) {
        Err("a part of the path is empty: write it like `kafka.brokers`".to_owned())
    } else {
        descend(root, path, &mut Vec::new(), matching, node)
    };
    if let Err(message) = result {
        findings.add(place, message);
    }
}

fn descend(
    node: &mut Node,
    path: &[&str],
    above: &mut Vec<String>,
    matching: Matching,
    new: Node,
) -> Result<(), String> {
    let Some(word) = path.first() else {
        *node = new;
        return Ok(());
    };
    if node.value == Value::Null {
        node.value = Value::Map(Vec::new());
    }
    match &mut node.value {
        Value::Map(entries) => {
            let (index, used) = find(entries, path, matching).unwrap_or_else(|| {
                let used = if is_free(above) { path.len() } else { 1 };
                let mut key = path[..used].join(".");
                if matching == Matching::Loose {
                    key.make_ascii_lowercase();
                }
                let value = Node {
                    place: new.place.clone(),
                    value: Value::Null,
                };
                entries.push(Entry {
                    key,
                    key_place: new.place.clone(),
                    value,
                });
                (entries.len() - 1, used)
            });
            above.push(entries[index].key.clone());
            descend(
                &mut entries[index].value,
                &path[used..],
                above,
                matching,
                new,
            )
        }
        Value::List(items) => {
            let index = position(items, word, matching).ok_or_else(|| {
                format!(
                    "there is no `{word}` in the list `{}` of the file: name an item by its id, or by \
                     its position from 0",
                    above.join(".")
                )
            })?;
            above.push((*word).to_owned());
            descend(&mut items[index], &path[1..], above, matching, new)
        }
        Value::Null | Value::Bad => Ok(()),
        Value::Scalar(_) => Err(format!(
            "`{}` is a single value and holds no `{word}`",
            above.join(".")
        )),
    }
}

/// The entry that the path goes through and how many words its key takes; keys may hold dots, so the
/// longest match wins.
fn find(entries: &[Entry], path: &[&str], matching: Matching) -> Option<(usize, usize)> {
    (1..=path.len()).rev().find_map(|used| {
        let key = path[..used].join(".");
        let exact = entries.iter().position(|entry| entry.key == key);
        let index = exact.or_else(|| {
            entries
                .iter()
                .position(|entry| matching.equal(&entry.key, &key))
        })?;
        Some((index, used))
    })
}

fn position(items: &[Node], word: &str, matching: Matching) -> Option<usize> {
    let by_id = items.iter().position(|item| match &item.value {
        Value::Map(entries) => entries.iter().any(|entry| {
            entry.key == "id"
                && matches!(&entry.value.value, Value::Scalar(id) if matching.equal(&id.text, word))
        }),
        _ => false,
    });
    by_id.or_else(|| word.parse().ok().filter(|index| *index < items.len()))
}

/// Sections whose keys the operator chooses: the rest of a path is one key there, dots included.
fn is_free(above: &[String]) -> bool {
    let words: Vec<&str> = above.iter().map(String::as_str).collect();
    matches!(
        words.as_slice(),
        ["kafka", "properties"]
            | ["plugins", _, "config"]
            | ["groups", _, "routes"]
            | ["topics", _, "config"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
kafka:
  brokers: a:1
  properties: { session.timeout.ms: 1 }
groups:
  - id: one-group
    store: x
";

    fn applied(env: &[(&str, &str)], sets: &[&str]) -> (Node, String) {
        let mut findings = Findings::new("f");
        let mut root = tree::parse(FILE, &mut findings).unwrap();
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        apply(&mut root, &env, &sets, &mut findings);
        let said = if findings.is_empty() {
            String::new()
        } else {
            findings.into_error().to_string()
        };
        (root, said)
    }

    /// The text at a path of exact keys and positions.
    fn at<'t>(node: &'t Node, path: &[&str]) -> Option<&'t str> {
        let Some((first, rest)) = path.split_first() else {
            let Value::Scalar(scalar) = &node.value else {
                return None;
            };
            return Some(&scalar.text);
        };
        match &node.value {
            Value::Map(entries) => at(&entries.iter().find(|e| e.key == *first)?.value, rest),
            Value::List(items) => at(items.get(first.parse::<usize>().ok()?)?, rest),
            _ => None,
        }
    }

    #[test]
    fn the_environment_finds_keys_without_regard_to_case_and_signs() {
        let (root, said) = applied(
            &[
                ("MILLRACE__KAFKA__BROKERS", "b: 2"),
                ("millrace__Kafka__Properties__SESSION_TIMEOUT_MS", "2"),
                ("MILLRACE__GROUPS__ONE_GROUP__STORE", "y"),
                ("MILLRACE__ADMIN__LISTEN", "z"),
                ("MILLRACE_LOG", "not ours"),
            ],
            &[],
        );
        assert_eq!(said, "");
        assert_eq!(at(&root, &["kafka", "brokers"]), Some("b: 2"));
        assert_eq!(
            at(&root, &["kafka", "properties", "session.timeout.ms"]),
            Some("2")
        );
        assert_eq!(at(&root, &["groups", "0", "store"]), Some("y"));
        assert_eq!(at(&root, &["admin", "listen"]), Some("z"));
    }

    #[test]
    fn options_win_over_the_environment_and_keys_may_hold_dots() {
        let (root, said) = applied(
            &[("MILLRACE__KAFKA__BROKERS", "b:2")],
            &[
                "kafka.brokers=c:3",
                "kafka.properties.session.timeout.ms=3",
                "kafka.properties.client.id=\"me\"",
                "groups.0.store=s=t",
            ],
        );
        assert_eq!(said, "");
        assert_eq!(at(&root, &["kafka", "brokers"]), Some("c:3"));
        assert_eq!(
            at(&root, &["kafka", "properties", "session.timeout.ms"]),
            Some("3")
        );
        assert_eq!(at(&root, &["kafka", "properties", "client.id"]), Some("me"));
        assert_eq!(at(&root, &["groups", "0", "store"]), Some("s=t"));
    }

    #[test]
    fn a_path_that_leads_nowhere_is_reported_with_its_origin() {
        let (_, said) = applied(
            &[("MILLRACE__KAFKA____X", "1")],
            &[
                "kafka",
                "groups.2.store=x",
                "kafka.brokers.x=1",
                "admin=[a]",
            ],
        );
        assert_eq!(
            said,
            "MILLRACE__KAFKA____X: a part of the path is empty: write it like `kafka.brokers`\n\
             --set kafka: there is no `=`: write `--set section.key=value`\n\
             --set groups.2.store: there is no `2` in the list `groups` of the file: name an item by \
             its id, or by its position from 0\n\
             --set kafka.brokers.x: `kafka.brokers` is a single value and holds no `x`\n\
             --set admin: takes a single value; write lists and sections in the file\n\
             5 problems in the configuration"
        );
    }
}
