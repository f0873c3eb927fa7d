//! The table of keys against the readers: they are asked by mistakes, whose messages say what they would take.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;

use super::*;
use crate::config::{read, units};

/// A document in which every section can be reached.
const EVERYTHING: &str = r#"
kafka: { brokers: b, sasl: { mechanism: OAUTHBEARER, token: { url: "https://t" } } }
plugins: { NAME: { path: p, grants: [state, journal], journal: { path: j } } }
groups:
  - { id: ID, routes: { TOPIC: { plugin: NAME } }, dedup: { id: key } }
ingest: { clients: [{ name: n }], grpc: {}, http: {} }
validation: { NAME: { folder: f } }
schema_registry: { url: "http://r", basic: {}, encode: { TOPIC: {} } }
topics: { TOPIC: {} }
"#;

/// Calls `see` with every key and the way to it, as `--set` takes it.
fn each(keys: &'static [Key], above: &str, see: &mut impl FnMut(&'static [Key], &str)) {
    see(keys, above);
    for key in keys {
        below(&key.kind, &join(above, key.name), see);
    }
}

fn below(kind: &'static Kind, path: &str, see: &mut impl FnMut(&'static [Key], &str)) {
    match kind {
        Kind::Section(keys) => each(keys, path, see),
        Kind::Named(name, of) => below(of, &join(path, name), see),
        Kind::List(of) => {
            let item = if path == "groups" { "ID" } else { "0" };
            below(of, &join(path, item), see);
        }
        Kind::Either(one, other) => {
            below(one, path, see);
            below(other, path, see);
        }
        _ => {}
    }
}

fn join(above: &str, name: &str) -> String {
    match above {
        "" => name.to_owned(),
        _ => format!("{above}.{name}"),
    }
}

/// What the readers say of `--set PATH=VALUE`.
fn said(path: &str, value: &str) -> Vec<String> {
    let sets = [format!("{path}={value}")];
    let by = format!("--set {path}");
    let read = read::parse(EVERYTHING, "m", Path::new(""), std::iter::empty(), &sets);
    let findings = read.map_or_else(|error| error.findings, |_| Vec::new());
    findings
        .into_iter()
        .filter(|finding| finding.file == by)
        .map(|finding| finding.message)
        .collect()
}

#[test]
fn the_readers_take_the_keys_of_the_table_and_no_others() {
    let mut sections = 0;
    each(TOP, "", &mut |keys, path| {
        sections += 1;
        let said = said(&join(path, "zzzz"), "1");
        let taken = said.iter().find_map(|said| {
            said.split_once("unknown key `zzzz`")?
                .1
                .split_once("the keys here are ")
        });
        let (_, taken) = taken.unwrap_or_else(|| panic!("`{path}` cannot be reached: {said:?}"));
        let taken: BTreeSet<&str> = taken.split(", ").collect();
        let table: BTreeSet<&str> = keys.iter().map(|key| key.name).collect();
        assert_eq!(taken, table, "`{path}`: the readers, and the table");
    });
    assert!(sections > 35, "{sections}");
}

#[test]
fn the_readers_take_the_forms_of_the_table() {
    each(TOP, "", &mut |keys, path| {
        for key in keys {
            form(&join(path, key.name), &key.kind);
        }
    });
}

fn form(path: &str, kind: &Kind) {
    let with = |value: &str, wanted: &str| {
        let said = said(path, value);
        let found = said.iter().find_map(|said| said.split_once(wanted));
        found
            .map(|(_, rest)| rest.to_owned())
            .unwrap_or_else(|| panic!("`{path}: {value}` is answered {said:?}, without {wanted}"))
    };
    match kind {
        Kind::Duration(least, most) => {
            let taken = with("9999999d", "is out of range: write ");
            same(path, &taken, (least, most), |text| {
                units::duration(text).unwrap()
            });
        }
        Kind::Size(least, most) => {
            let taken = with("9000TiB", "is out of range: write ");
            same(path, &taken, (least, most), |text| {
                units::bytes(text).unwrap()
            });
        }
        Kind::Number(least, most) => {
            with("1.5", "is not a whole number");
            let taken = with("zzzz", "is not a number: write ");
            same(path, &taken, (least, most), |text| {
                text.parse::<u64>().unwrap()
            });
        }
        Kind::Fraction(least, most) => {
            let taken = with("zzzz", "is not a number: write ");
            same(path, &taken, (least, most), |text| {
                text.parse::<f64>().unwrap()
            });
        }
        Kind::Flag => {
            with("zzzz", "is not one of true, false: ");
        }
        Kind::Choice(words) => {
            with("zzzz", &format!("is not one of {}: ", words.join(", ")));
        }
        Kind::Address => {
            with("zzzz", "is not an IP address and port: ");
        }
        Kind::Topic => {
            with("z z", "cannot be the name of a topic: ");
        }
        Kind::Section(_) | Kind::Named(..) | Kind::List(_) => {
            with("zzzz", "this is a single value: write ");
        }
        // A single value that has more to say of itself, or a section.
        Kind::Either(one, other) if one.range().is_some() || other.has_keys() => {
            if !one.has_keys() && !other.has_keys() {
                form(path, one);
            }
        }
        Kind::Text | Kind::Path | Kind::Form(_) | Kind::Either(..) => {
            let wrong = said(path, "zzzz");
            let measured = ["not a number", "not a duration", "not a size", "not one of"];
            let other = wrong
                .iter()
                .find(|said| measured.iter().any(|form| said.contains(form)));
            assert_eq!(other, None, "`{path}` is more than a text");
        }
    }
}

/// Compares `1 to 5` of a message with the table.
fn same<T: PartialEq + Debug>(
    path: &str,
    taken: &str,
    (least, most): (&str, &str),
    read: impl Fn(&str) -> T,
) {
    let (from, to) = taken.split_once(" to ").unwrap();
    assert_eq!(
        (read(from), read(to)),
        (read(least), read(most)),
        "`{path}`"
    );
}

/// What the page on the configuration says of keys: by section, each key with its type and default.
fn documented() -> BTreeMap<&'static str, BTreeMap<&'static str, (&'static str, &'static str)>> {
    let mut sections: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    let (mut paths, mut of_keys) = (Vec::new(), false);
    for line in include_str!("../../../docs/configuration.md").lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            // What stands between backticks.
            paths = heading.split('`').skip(1).step_by(2).collect();
            if heading == "The top" {
                paths = vec![""];
            }
        }
        if !line.starts_with('|') {
            of_keys = false;
        } else if line.starts_with("| key | type |") {
            of_keys = true;
        } else if of_keys && !line.starts_with("| ---") {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            for key in cells[0].split('`').skip(1).step_by(2) {
                for path in &paths {
                    let section = sections.entry(*path).or_default();
                    section.insert(key, (cells[1], cells[2]));
                }
            }
        }
    }
    sections
}

/// The type of a value as the page writes it; none where it says it in words of its own.
fn written(kind: &Kind) -> Option<String> {
    let words = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        words.join(", ")
    };
    match kind {
        Kind::Duration(least, most) => Some(format!("duration, {least} to {most}")),
        Kind::Size(least, most) => Some(format!("size, {least} to {most}")),
        Kind::Number(least, most) | Kind::Fraction(least, most) => {
            Some(format!("number, {least} to {most}"))
        }
        Kind::Flag => Some(words(&["true", "false"])),
        Kind::Choice(choice) => Some(words(choice)),
        Kind::Either(one, other) if one.range().is_some() => {
            Some(format!("{}, or {}", written(one)?, written(other)?))
        }
        _ => None,
    }
}

#[test]
fn the_page_on_the_configuration_has_the_keys_of_the_table_with_their_types_and_defaults() {
    let mut page = documented();
    // What two sections share has the keys of both.
    let (canary, shadow) = ("plugins.NAME.canary", "plugins.NAME.shadow");
    for key in ["share", "by"] {
        page.get_mut(shadow).unwrap().remove(key);
    }
    assert!(page.contains_key(canary));
    let mut flaws = Vec::new();
    each(TOP, "", &mut |keys, path| {
        let path = path.replace(".0", "");
        let Some(mut said) = page.remove(path.as_str()) else {
            return flaws.push(format!("`{path}` has no table"));
        };
        for key in keys {
            let Some((form, default)) = said.remove(key.name) else {
                flaws.push(format!("`{path}` lacks `{}`", key.name));
                continue;
            };
            if let Some(wanted) = written(&key.kind).filter(|wanted| wanted != form) {
                flaws.push(format!("`{path}.{}` is {wanted}, not {form}", key.name));
            }
            if let Unless::Is(wanted) = key.unless
                && default != format!("`{wanted}`")
            {
                flaws.push(format!(
                    "`{path}.{}` is `{wanted}` by default, not {default}",
                    key.name
                ));
            }
        }
        flaws.extend(said.keys().map(|key| format!("`{path}.{key}` is no key")));
    });
    flaws.extend(page.keys().map(|path| format!("`{path}` is no section")));
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}
