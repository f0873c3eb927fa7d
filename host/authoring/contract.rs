//! The contract that stands in a plugin's folder, beside the one that this host has: whether they are of one version,
//! and what differs. It must not know how a plugin is built.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// How many differences are told; where there are more, the first ones say enough.
const DIFFERENCES_MAX: usize = 6;

/// A line that names a package, up to its version.
const PACKAGE: &str = "package millrace:plugin@";

/// The files of this host's contract: paths as in the repository's `wit/`, and texts.
pub(super) type Files = &'static [(&'static str, &'static str)];

/// How the contract in a folder differs from this host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// The version of the folder's package where it is another.
    pub(super) version: Option<String>,
    /// What differs, a sentence each.
    pub(super) lines: Vec<String>,
}

/// The version of the contract that these files are.
pub(super) fn version(files: Files) -> &'static str {
    let named = files.iter().find_map(|(_, text)| version_in(text));
    named.unwrap_or_default()
}

fn version_in(text: &str) -> Option<&str> {
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(PACKAGE))?;
    Some(line.trim_end_matches(';').trim())
}

/// Compares the package in `folder` with this host's; none where they are the same but for comments, or where there
/// is no package.
pub(super) fn difference(folder: &Path, files: Files) -> Option<Difference> {
    let own = files.iter().filter(|(path, _)| !path.contains('/'));
    let mut theirs = String::new();
    for entry in fs::read_dir(folder).ok()?.flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "wit")
        {
            theirs.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
            theirs.push('\n');
        }
    }
    let host: String = own.map(|(_, text)| format!("{text}\n")).collect();
    let version = version_in(&theirs)?;
    let (host_lines, their_lines) = (meant(&host), meant(&theirs));
    if host_lines == their_lines {
        return None;
    }
    let only_host = host_lines.difference(&their_lines);
    let only_theirs = their_lines.difference(&host_lines);
    let mut lines: Vec<String> = only_host
        .map(|line| format!("this host has `{line}`, the folder does not"))
        .chain(only_theirs.map(|line| format!("the folder has `{line}`, this host does not")))
        .collect();
    let more = lines.len().saturating_sub(DIFFERENCES_MAX);
    if more > 0 {
        lines.truncate(DIFFERENCES_MAX);
        lines.push(format!("and {more} lines more"));
    }
    Some(Difference {
        version: (version != self::version(files)).then(|| version.to_owned()),
        lines,
    })
}

/// The lines that mean something: no comments, no braces, and each with the block that it stands in.
fn meant(text: &str) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let mut block: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        if let Some(opens) = line.strip_suffix('{') {
            block.push(opens.trim().to_owned());
        } else if line.starts_with('}') {
            block.pop();
            continue;
        }
        let said = line.trim_end_matches(['{', ',', ';']).trim();
        if said.is_empty() {
            continue;
        }
        let within = if line.ends_with('{') {
            block.len() - 1
        } else {
            block.len()
        };
        let mut whole = block[..within].to_vec();
        whole.push(said.to_owned());
        lines.insert(whole.join(" / "));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Files = &[
        (
            "types.wit",
            "package millrace:plugin@0.1.0;\n/// Seen.\ninterface types {\n  record event {\n    topic: string,\n    attempt: u32,\n  }\n}\n",
        ),
        ("deps/x/x.wit", "package a:b;\n"),
    ];

    fn differs(text: &str) -> Option<Difference> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("types.wit"), text).unwrap();
        difference(folder.path(), HOST)
    }

    #[test]
    fn comments_and_spaces_make_no_difference() {
        let text = HOST[0]
            .1
            .replace("/// Seen.", "// Other.")
            .replace("  ", "    ");
        assert_eq!(differs(&text), None);
    }

    #[test]
    fn what_differs_is_named_with_the_block_that_it_stands_in() {
        let text = HOST[0].1.replace("attempt: u32", "tries: u64");
        let difference = differs(&text).unwrap();
        assert_eq!(difference.version, None);
        assert_eq!(
            difference.lines,
            [
                "this host has `interface types / record event / attempt: u32`, the folder does not",
                "the folder has `interface types / record event / tries: u64`, this host does not",
            ]
        );
    }

    #[test]
    fn another_version_is_told() {
        let text = HOST[0].1.replace("0.1.0", "0.2.0");
        assert_eq!(differs(&text).unwrap().version.as_deref(), Some("0.2.0"));
    }

    #[test]
    fn a_folder_without_the_package_is_not_compared() {
        assert_eq!(differs("package local:orders;\n"), None);
    }
}
