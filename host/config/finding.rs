//! What is wrong with a configuration, and where.
//!
//! Everything is collected before anything is reported, so that an operator corrects a file once.
//! This must not know what a configuration means.

use std::fmt;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the file; both count from 1.
    File {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// Outside of the file: the environment variable, or `--set` with its path.
    Override(String),
}

/// One problem and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file; or the environment variable or `--set` option that the value came from.
    pub file: String,
    /// The line from 1; 0 when the problem is not in the text of the file.
    pub line: usize,
    /// The column from 1, in characters; 0 when the problem is not in the text of the file.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)
        } else {
            write!(
                f,
                "{}:{}:{}: {}",
                self.file, self.line, self.column, self.message
            )
        }
    }
}

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", closing(.findings))]
pub struct ConfigError {
    /// In the order of the file, then environment and options; never empty.
    pub findings: Vec<Finding>,
}

fn closing(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text.push_str(&finding.to_string());
        text.push('\n');
    }
    match findings.len() {
        1 => text.push_str("1 problem in the configuration"),
        count => text.push_str(&format!("{count} problems in the configuration")),
    }
    text
}

/// Collects findings while a configuration is read.
#[derive(Debug)]
pub(crate) struct Findings {
    file: String,
    found: Vec<Finding>,
}

impl Findings {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            found: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, place: &Place, message: impl Into<String>) {
        let (file, line, column) = match place {
            Place::File { line, column } => (self.file.clone(), *line, *column),
            Place::Override(origin) => (origin.clone(), 0, 0),
        };
        self.found.push(Finding {
            file,
            line,
            column,
            message: message.into(),
        });
    }

    /// The file as a whole is the problem: it cannot be read.
    pub(crate) fn add_unplaced(&mut self, message: impl Into<String>) {
        let file = self.file.clone();
        self.found.push(Finding {
            file,
            line: 0,
            column: 0,
            message: message.into(),
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn into_error(mut self) -> ConfigError {
        // The sort is stable, so problems at one place stay in the order they were found.
        self.found
            .sort_by_key(|finding| (finding.line == 0, finding.line, finding.column));
        ConfigError {
            findings: self.found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_prints_one_line_a_finding_in_file_order_and_a_count() {
        let mut findings = Findings::new("m.yaml");
        findings.add(&Place::Override("--set a.b".to_owned()), "third");
        findings.add(&Place::File { line: 3, column: 1 }, "second");
        findings.add(&Place::File { line: 2, column: 9 }, "first");
        assert_eq!(
            findings.into_error().to_string(),
            "m.yaml:2:9: first\nm.yaml:3:1: second\n--set a.b: third\n3 problems in the configuration"
        );
    }
}
