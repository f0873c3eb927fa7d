//! `millrace explain`: what every setting is, and where it came from.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::Output;
use super::run::ConfigArgs;
use crate::config::{self, Came, Explained, Setting, Value};

/// Arguments of `millrace explain`.
#[derive(Debug, Clone, clap::Args)]
pub struct ExplainArgs {
    /// Settings or sections, such as `kafka` or `groups.orders.retry`; all where none is named.
    #[arg(value_name = "SECTION.KEY")]
    pub keys: Vec<String>,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Prints the settings.
///
/// # Errors
/// The configuration is wrong, or there is no such setting.
pub fn run(args: &ExplainArgs) -> anyhow::Result<()> {
    let ConfigArgs { config: file, sets } = &args.config;
    let mut explained = config::explain(file, config::process_environment(), sets)?;
    if !args.keys.is_empty() {
        for key in &args.keys {
            check(key, &explained)?;
        }
        let asked = |setting: &Setting| args.keys.iter().any(|key| lies_in(&setting.path, key));
        explained.settings.retain(asked);
    }
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", in_json(&explained, file))?,
        Output::Text => write!(out, "{}", told(&explained, file))?,
    }
    Ok(())
}

/// Whether a setting is this one, or lies in this section.
fn lies_in(path: &str, section: &str) -> bool {
    path.strip_prefix(section)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn check(key: &str, explained: &Explained) -> anyhow::Result<()> {
    let paths = || {
        explained
            .settings
            .iter()
            .map(|setting| setting.path.as_str())
    };
    if paths().any(|path| lies_in(path, key)) {
        return Ok(());
    }
    // What is off has no keys that could be shown.
    if let Some(off) = paths().find(|path| lies_in(key, path)) {
        anyhow::bail!(
            "there is no setting `{key}` here: `{off}` is not written, or has no such key"
        );
    }
    // Sections are named too, so that they are suggested.
    let sections = paths().flat_map(|path| path.match_indices('.').map(|(end, _)| &path[..end]));
    let advice = config::suggest(key, paths().chain(sections)).map_or_else(
        || "`millrace explain` without it shows all".to_owned(),
        |known| format!("did you mean `{known}`?"),
    );
    anyhow::bail!("there is no setting `{key}`: {advice}")
}

/// The settings as JSON.
pub(super) fn in_json(explained: &Explained, file: &Path) -> Json {
    let settings: Vec<Json> = explained
        .settings
        .iter()
        .map(|setting| one_in_json(setting, file))
        .collect();
    let unused: Vec<Json> = explained
        .unused
        .iter()
        .map(|unused| json!({ "variable": unused.variable, "setting": unused.setting }))
        .collect();
    json!({ "settings": settings, "unused": unused })
}

fn one_in_json(setting: &Setting, file: &Path) -> Json {
    let came = match &setting.came {
        Came::Default => json!({ "kind": "default" }),
        Came::File { line, column } => {
            json!({ "kind": "file", "file": file, "line": line, "column": column })
        }
        Came::Outside(by) => match by.strip_prefix("--set ") {
            Some(path) => json!({ "kind": "option", "option": format!("--set {path}") }),
            None => json!({ "kind": "environment", "variable": by }),
        },
    };
    let mut shown = json!({
        "path": setting.path,
        "value": null,
        "from": came,
        "through": setting.through,
        "secret": setting.value == Value::Hidden,
        "meaning": setting.meaning,
    });
    match &setting.value {
        Value::Is(text) => shown["value"] = text.as_str().into(),
        Value::Told(words) => shown["decided_by"] = (*words).into(),
        Value::Nothing | Value::Hidden => {}
    }
    shown
}

/// Three columns: the setting, its value, where that came from.
fn told(explained: &Explained, file: &Path) -> String {
    let rows: Vec<[String; 3]> = explained
        .settings
        .iter()
        .map(|setting| {
            [
                setting.path.clone(),
                value(&setting.value),
                from(setting, file),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let (paths, values) = (width(0).unwrap_or(0), width(1).unwrap_or(0).min(WIDEST));
    let mut told = String::new();
    for [path, value, from] in &rows {
        told.push_str(&format!("{path:<paths$}  {value:<values$}  {from}\n"));
    }
    for unused in &explained.unused {
        told.push_str(&format!(
            "{} is set and changes nothing: something else says what `{}` is\n",
            unused.variable, unused.setting
        ));
    }
    told
}

/// A longer value pushes its own line out and not those of the others, in characters.
const WIDEST: usize = 40;

fn value(value: &Value) -> String {
    match value {
        Value::Nothing => "-".to_owned(),
        Value::Is(text) if text.is_empty() => "\"\"".to_owned(),
        // A line break, or what could drive a terminal.
        Value::Is(text) if text.contains(char::is_control) => format!("{text:?}"),
        Value::Is(text) => text.clone(),
        Value::Told(words) => format!("({words})"),
        Value::Hidden => "(hidden)".to_owned(),
    }
}

fn from(setting: &Setting, file: &Path) -> String {
    let mut from = match &setting.came {
        Came::Default => "default".to_owned(),
        Came::File { line, column } => format!("{}:{line}:{column}", file.display()),
        Came::Outside(by) => by.clone(),
    };
    if !setting.through.is_empty() {
        let through: Vec<String> = setting
            .through
            .iter()
            .map(|name| format!("${{{name}}}"))
            .collect();
        from.push_str(&format!(", {}", through.join(", ")));
    }
    from
}
