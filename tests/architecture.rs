//! Rules about the source itself, run as ordinary tests: who may use which library, which way modules
//! depend, and the house style that no compiler checks. Each message says which file broke which rule.

mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::rules::{KNOW_ALL, MAY_KNOW, NOT_IN_DELIVERY, ONLY_USERS};

/// Lines of one file, its inline tests not counted.
const FILE_LINES_MAX: usize = 500;

#[test]
fn each_library_is_used_in_one_place_only() {
    let mut broken = Vec::new();
    for file in host_files() {
        for (library, users) in ONLY_USERS {
            if mentions_library(&file.code, library) && !users.iter().any(|user| file.is_in(user)) {
                broken.push(format!(
                    "{}: {library} belongs to host/{}",
                    file.path,
                    users.join(", host/")
                ));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn modules_depend_one_way() {
    let files = host_files();
    let modules: BTreeSet<&str> = files.iter().map(Source::module).collect();
    let mut broken = Vec::new();
    let mut needed = BTreeSet::new();
    for file in &files {
        let module = file.module();
        if KNOW_ALL.contains(&module) {
            continue;
        }
        let Some((_, may)) = MAY_KNOW.iter().find(|(of, _)| *of == module) else {
            broken.push(format!(
                "{}: no rule says what {module} may know",
                file.path
            ));
            continue;
        };
        let known = crate_modules(file);
        for met in modules.iter().filter(|met| known.contains(**met)) {
            needed.insert((module, *met));
            if *met != module && !may.split(' ').any(|may| may == *met) {
                broken.push(format!("{}: {module} must not know {met}", file.path));
            }
        }
    }
    let rules = MAY_KNOW
        .iter()
        .flat_map(|(module, may)| may.split_whitespace().map(|may| (*module, may)));
    let idle = rules.filter(|rule| !needed.contains(rule));
    broken.extend(idle.map(|(module, may)| format!("{module} has no need to know {may}")));
    assert_none(&broken);
}

#[test]
fn delivery_does_no_input_or_output_and_knows_no_clock() {
    let mut broken = Vec::new();
    for file in host_files()
        .into_iter()
        .filter(|file| file.is_in("delivery"))
    {
        let met = NOT_IN_DELIVERY
            .iter()
            .filter(|word| has_word(&file.code, word));
        broken.extend(met.map(|word| format!("{}: {word}", file.path)));
    }
    assert_none(&broken);
}

#[test]
fn only_config_reads_the_environment() {
    let reads = |file: &Source| {
        ["env::var", "env::vars", "env::var_os", "env::vars_os"]
            .iter()
            .any(|it| has_word(&file.code, it))
    };
    let broken: Vec<String> = host_files()
        .into_iter()
        .filter(|file| !file.is_in("config") && !file.is_in("build") && reads(file))
        .map(|file| file.path)
        .collect();
    assert_none(&broken);
}

#[test]
fn nothing_is_broken_on_purpose_in_what_is_delivered() {
    let mut broken = Vec::new();
    for file in host_files() {
        if file.is_in("sabotage") || file.is_in("sabotaged") {
            continue;
        }
        let lines: Vec<&str> = file.code.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let hook = has_word(line, "sabotage") && !line.starts_with("#[cfg(");
            let optional = at > 0 && lines[at - 1] == "#[cfg(feature = \"sabotage\")]";
            if hook && !optional {
                broken.push(format!("{}: {line}", file.path));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn every_file_opens_by_saying_its_job() {
    let broken: Vec<String> = all_files()
        .into_iter()
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| format!("{}: it does not begin with //!", file.path))
        .collect();
    assert_none(&broken);
}

#[test]
fn files_are_short_enough_to_read() {
    let broken: Vec<String> = all_files()
        .into_iter()
        .map(|file| (file.code.lines().count(), file.path))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines} lines, {FILE_LINES_MAX} at most"))
        .collect();
    assert_none(&broken);
}

#[test]
fn nothing_is_left_for_later_and_no_test_is_switched_off() {
    // Written in two halves, so that this file does not break its own rule.
    let banned = [
        ["#[ign", "ore"],
        ["#[should", "_panic"],
        ["to", "do!("],
        ["unimple", "mented!("],
        ["db", "g!("],
        ["FIX", "ME"],
        ["TO", "DO"],
    ]
    .map(|halves| halves.concat());
    let mut broken = Vec::new();
    for file in all_files() {
        let met = banned
            .iter()
            .filter(|banned| file.text.contains(banned.as_str()));
        broken.extend(met.map(|met| format!("{}: {met}", file.path)));
    }
    assert_none(&broken);
}

#[test]
fn modules_are_named_by_their_file() {
    let broken: Vec<String> = all_files()
        .into_iter()
        .filter(|file| file.path.ends_with("/mod.rs"))
        .map(|file| {
            format!(
                "{}: name the file after the module, beside its folder",
                file.path
            )
        })
        .collect();
    assert_none(&broken);
}

#[test]
fn the_scanner_sees_code_and_not_comments() {
    let source = Source::new(
        "host/delivery/x.rs",
        "//! Not rdkafka.\nuse crate::{kafka::{admin, Consumer}, store};\n\
         use crate::delivery; // crate::cli\nlet a = \"https://x\"; crate::telemetry::on();\n\
         #[cfg(test)]\nmod tests { use crate::daemon; }\n",
    );
    let known: Vec<String> = crate_modules(&source).into_iter().collect();
    assert_eq!(known, ["delivery", "kafka", "store", "telemetry"]);
    assert!(!mentions_library(&source.code, "rdkafka"));
    assert!(mentions_library("use rdkafka_sys::bindings;", "rdkafka"));
    assert!(!mentions_library("let librdkafka = 1;", "rdkafka"));
    assert!(has_word("Instant::now()", "Instant") && !has_word("Instantiate", "Instant"));
    assert!(source.is_in("delivery") && !source.is_in("deliver"));
    assert!(Source::new("host/kafka.rs", "").is_in("kafka"));
    assert!(Source::new("host/cli/produce.rs", "").is_in("cli/produce"));
}

/// A source file.
struct Source {
    /// From the top of the repository.
    path: String,
    /// As it stands.
    text: String,
    /// Without comments, and without the inline tests at its end, which may use what they like.
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let tests = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
        let code: Vec<&str> = text[..tests].lines().map(without_comment).collect();
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: code.join("\n"),
        }
    }

    /// Whether it is this module of the host, or lies below it.
    fn is_in(&self, module: &str) -> bool {
        let inside = self
            .path
            .strip_prefix("host/")
            .and_then(|path| path.strip_prefix(module));
        inside.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// The module directly below the crate that the file is of.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("host/").unwrap_or(&self.path);
        inside.split(['/', '.']).next().unwrap_or(inside)
    }
}

/// The line up to a comment. Two slashes in a text, as in an address, are no comment.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split_once(" // ").map_or(line, |(code, _)| code)
}

/// The modules of the crate that a file names, in paths and in grouped imports.
fn crate_modules(file: &Source) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // From a file directly below host/, `super` is the crate too.
    let top = file.path.matches('/').count() == 1;
    let prefixes: &[&str] = if top {
        &["crate::", "super::"]
    } else {
        &["crate::"]
    };
    for prefix in prefixes {
        for (_, rest) in file
            .code
            .match_indices(prefix)
            .map(|(at, _)| file.code[at..].split_at(prefix.len()))
        {
            match rest.strip_prefix('{') {
                Some(group) => found.extend(group_heads(group)),
                None => found.extend(identifier(rest)),
            }
        }
    }
    found
}

/// The first segments of a grouped import, up to its closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut at_head) = (0_u32, true);
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            _ if at_head && !char.is_whitespace() => {
                heads.extend(identifier(&group[at..]));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> Option<String> {
    let end = text
        .find(|char: char| !is_identifier(char))
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

fn is_identifier(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// Whether the library or one of its companions (`name_suffix`) is named.
fn mentions_library(code: &str, library: &str) -> bool {
    occurrences(code, library).any(|after| after.is_none_or(|char| !char.is_alphanumeric()))
}

fn has_word(code: &str, word: &str) -> bool {
    occurrences(code, word).any(|after| after.is_none_or(|char| !is_identifier(char)))
}

/// What follows each place where the word begins.
fn occurrences<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = Option<char>> + 'a {
    code.match_indices(word)
        .filter(|(at, _)| !code[..*at].chars().next_back().is_some_and(is_identifier))
        .map(|(at, word)| code[at + word.len()..].chars().next())
}

fn host_files() -> Vec<Source> {
    files_below(&["host"])
}

fn all_files() -> Vec<Source> {
    files_below(&["host", "sdk", "plugins", "benches", "tests"])
}

fn files_below(folders: &[&str]) -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| top.join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        // A folder that is not there has no file that breaks a rule.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "target" {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let short = path
                    .strip_prefix(top)
                    .unwrap_or(&path)
                    .display()
                    .to_string();
                files.push(Source::new(
                    &short,
                    &fs::read_to_string(&path).expect("it is text"),
                ));
            }
        }
    }
    assert!(!files.is_empty(), "no source below {folders:?}");
    files
}

#[track_caller]
fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "\n  {}\n", broken.join("\n  "));
}
