//! `${...}` in the values of the file.
//!
//! A variable that is not set is an error and never an empty text, so that a typing mistake cannot
//! switch something off in silence. This must not know which keys exist.

use std::io::Read;
use std::path::Path;

use super::finding::{Findings, Place};
use super::places::Environment;
use super::secret::is_secret_source;
use super::tree::{Node, Scalar, Value};

/// `${file:...}` is for passwords and certificates; more than this was not meant.
const FILE_MAX_BYTES: u64 = 64 * 1024;

/// Where the values come from.
pub(super) struct Source<'a> {
    pub(super) env: &'a Environment,
    /// Relative paths of `${file:...}` start here.
    pub(super) base: &'a Path,
}

/// Replaces every `${...}` under `node` that was written in the file. What came from the environment
/// or an option has been through a shell already.
pub(super) fn interpolate(node: &mut Node, source: &Source<'_>, findings: &mut Findings) {
    match &mut node.value {
        Value::Scalar(scalar) if matches!(node.place, Place::File { .. }) => {
            if !scalar.text.contains("${") {
                return;
            }
            match expand(&scalar.text, source) {
                Ok(expanded) => *scalar = expanded,
                Err(message) => {
                    findings.add(&node.place, message);
                    node.value = Value::Bad;
                }
            }
        }
        Value::List(items) => {
            for item in items {
                interpolate(item, source, findings);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                interpolate(&mut entry.value, source, findings);
            }
        }
        Value::Null | Value::Scalar(_) | Value::Bad => {}
    }
}

/// What a text as it was written takes from elsewhere: names of variables, and `file:PATH`.
pub(super) fn taken_from(text: &str) -> Vec<&str> {
    let mut taken = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        rest = after;
        if before.ends_with('$') {
            continue;
        }
        let Some(end) = after.find('}') else {
            break;
        };
        taken.push(name_of(&after[..end]));
        rest = &after[end + 1..];
    }
    taken
}

fn expand(text: &str, source: &Source<'_>) -> Result<Scalar, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut secrets = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let before = &rest[..start];
        let after = &rest[start + 2..];
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        let Some(end) = after.find('}') else {
            return Err(format!(
                "`{text}` has a `${{` without its `}}`: write `$${{` for a literal one"
            ));
        };
        expanded.push_str(before);
        let inner = &after[..end];
        let value = one(inner, source)?;
        expanded.push_str(&value);
        if is_secret_source(name_of(inner)) {
            secrets.push(value);
        }
        rest = &after[end + 1..];
    }
    expanded.push_str(rest);
    Ok(Scalar {
        text: expanded,
        // No longer a literal string: `"${N}"` may well be a number.
        quoted: false,
        secrets,
    })
}

/// Where it comes from, of what stands between the braces: `file:PATH`, or the name of a variable.
fn name_of(inner: &str) -> &str {
    match inner.starts_with("file:") {
        true => inner,
        false => inner.split(':').next().unwrap_or_default(),
    }
}

/// The value of what stands between the braces. As in a shell, `:-` and `:?` take a variable that is
/// set to nothing as not set.
fn one(inner: &str, source: &Source<'_>) -> Result<String, String> {
    if let Some(path) = inner.strip_prefix("file:") {
        return file(&source.base.join(path));
    }
    let (name, operator) = match inner.split_once(':') {
        Some((name, operator)) => (name, Some(operator)),
        None => (inner, None),
    };
    let is_name = name
        .chars()
        .enumerate()
        .all(|(index, c)| c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit()));
    if name.is_empty() || !is_name {
        return Err(format!(
            "`${{{inner}}}` names no variable: write `${{NAME}}`, or `$${{` for a literal one"
        ));
    }
    let value = source.env.get(name);
    let filled = value.filter(|value| !value.is_empty());
    match operator {
        None => value.cloned().ok_or_else(|| {
            format!("the variable {name} is not set: set it, or write `${{{name}:-default}}`")
        }),
        Some(operator) => {
            if let Some(default) = operator.strip_prefix('-') {
                Ok(filled.cloned().unwrap_or_else(|| default.to_owned()))
            } else if let Some(message) = operator.strip_prefix('?') {
                let message = if message.is_empty() {
                    "it must be set"
                } else {
                    message
                };
                filled
                    .cloned()
                    .ok_or_else(|| format!("the variable {name} is not set: {message}"))
            } else {
                Err(format!(
                    "`${{{inner}}}` is not understood: write `${{{name}}}`, `${{{name}:-default}}`, \
                     `${{{name}:?message}}` or `${{file:/path}}`"
                ))
            }
        }
    }
}

fn file(path: &Path) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("the file {} cannot be read: {error}", path.display())
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| failed(&error))?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(failed(&"it is larger than 64KiB"));
    }
    // Editors and secret stores end a file with a line break that is no part of the secret.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<Scalar, String> {
        let env = [("HOST", "kafka"), ("EMPTY", ""), ("DB_PASSWORD", "hush")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        expand(
            text,
            &Source {
                env: &env,
                base: Path::new("/nowhere"),
            },
        )
    }

    #[test]
    fn variables_are_replaced_with_their_defaults_and_escapes() {
        for (text, result) in [
            ("${HOST}:9092", "kafka:9092"),
            ("a${HOST}b${HOST}", "akafkabkafka"),
            ("${NONE:-x:1}", "x:1"),
            ("${NONE:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${HOST:?needed}", "kafka"),
            ("$${HOST}", "${HOST}"),
            ("cost $5", "cost $5"),
        ] {
            assert_eq!(expanded(text).unwrap().text, result, "{text}");
        }
    }

    #[test]
    fn what_came_from_a_secret_place_is_told_apart_from_what_stands_around_it() {
        let expanded = expanded("${HOST} as ${DB_PASSWORD}!").unwrap();
        assert_eq!(expanded.text, "kafka as hush!");
        assert_eq!(expanded.secrets, ["hush"]);
    }

    #[test]
    fn what_cannot_be_replaced_says_what_to_write() {
        for (text, message) in [
            (
                "${NONE}",
                "the variable NONE is not set: set it, or write `${NONE:-default}`",
            ),
            (
                "${NONE:?ask the admins}",
                "the variable NONE is not set: ask the admins",
            ),
            (
                "${EMPTY:?}",
                "the variable EMPTY is not set: it must be set",
            ),
            (
                "${HOST",
                "`${HOST` has a `${` without its `}`: write `$${` for a literal one",
            ),
            (
                "${}",
                "`${}` names no variable: write `${NAME}`, or `$${` for a literal one",
            ),
            (
                "${HOST:+x}",
                "`${HOST:+x}` is not understood: write `${HOST}`, `${HOST:-default}`, \
                 `${HOST:?message}` or `${file:/path}`",
            ),
        ] {
            assert_eq!(expanded(text).unwrap_err(), message);
        }
    }

    #[test]
    fn a_file_is_read_without_its_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "s3\ncret\n").unwrap();
        std::fs::write(folder.path().join("large"), vec![b'x'; 70_000]).unwrap();
        let env = Environment::new();
        let source = Source {
            env: &env,
            base: folder.path(),
        };
        let expanded = expand("<${file:secret}>", &source).unwrap();
        assert_eq!(expanded.text, "<s3\ncret>");
        assert_eq!(expanded.secrets, ["s3\ncret"]);
        assert!(
            expand("${file:absent}", &source)
                .unwrap_err()
                .contains("absent cannot be read: ")
        );
        assert!(
            expand("${file:large}", &source)
                .unwrap_err()
                .contains("larger than 64KiB")
        );
    }
}
