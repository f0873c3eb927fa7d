//! `plugin.yaml`, the manifest in the folder of a plugin that is being written. Its section `plugin` is read by
//! the very code that reads `plugins.NAME` of a host's configuration, so that it can be copied there as it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::field::Field;
use super::plugins::{self, Component};
use super::section::{Context, Section};
use super::{file_text, prepared};
use crate::config::finding::ConfigError;
use crate::config::manifest::{Language, OwnBuild, PluginManifest, plugin_name_problem};
use crate::config::places::Environment;
use crate::config::tree::{Node, Value};

/// Reads and checks a manifest. `env` is the environment, whose variables may be named in it; relative paths
/// start at the manifest's folder.
///
/// # Errors
/// Everything that is wrong with it, in its place; or that it cannot be read.
pub fn manifest(
    path: &Path,
    env: impl Iterator<Item = (String, String)>,
) -> Result<PluginManifest, ConfigError> {
    let name = path.display().to_string();
    let text = file_text(path, &name)?;
    let base = path.parent().unwrap_or(Path::new(""));
    let env: Environment = env.collect();
    // Settings of a host, from the environment or from options, mean nothing to a manifest.
    let (root, mut context) = prepared(&text, &name, base, &env, None)?;
    let manifest = document(&root, &mut context);
    match manifest {
        Some(manifest) if context.findings.is_empty() => Ok(manifest),
        _ => Err(context.findings.into_error()),
    }
}

fn document(root: &Node, context: &mut Context<'_>) -> Option<PluginManifest> {
    let mut section = Section::root(root, context)?;
    let name = name(&section.require("name", "orders", context), context);
    let language_field = section.require("language", "rust", context);
    let topics_field = section.require("topics", "[orders]", context);
    let topics = topics(&topics_field, context);
    let build_field = section.take("build");
    let build = own_build(&build_field, context);
    let language = language(&language_field, build_field.is_absent(), context);
    let plugin = plugin(&section.take("plugin"), name.as_deref(), context);
    section.finish(context);
    Some(PluginManifest {
        name: name?,
        language: language?,
        topics,
        plugin: plugin?,
        build,
    })
}

fn name(field: &Field<'_>, context: &mut Context<'_>) -> Option<String> {
    let name = field.name(context)?;
    if let Some(problem) = plugin_name_problem(name) {
        field.problem(context, problem);
        return None;
    }
    Some(name.to_owned())
}

fn language(field: &Field<'_>, no_build: bool, context: &mut Context<'_>) -> Option<Language> {
    if field.is_absent() {
        return None;
    }
    let mut choices = Language::BUILT
        .map(|(word, language)| (word, Some(language)))
        .to_vec();
    choices.push((Language::Other.word(), Some(Language::Other)));
    let language = field.choice(context, None, &choices);
    if language == Some(Language::Other) && no_build {
        field.problem(
            context,
            "the host does not know how to build it: write for example \
             `build: { command: [make], component: out.wasm }` too",
        );
    }
    language
}

fn topics(field: &Field<'_>, context: &mut Context<'_>) -> Vec<String> {
    let items = field.items(context);
    let nothing_said = matches!(field.node.map(|node| &node.value), Some(Value::List(_)));
    if items.is_empty() && nothing_said {
        field.problem(context, "name at least one topic");
    }
    let mut topics = Vec::new();
    let mut seen = BTreeSet::new();
    for item in items {
        let Some(topic) = item.topic(context) else {
            continue;
        };
        if seen.insert(topic.clone()) {
            topics.push(topic);
        } else {
            item.problem(context, format!("`{topic}` is named twice: keep one"));
        }
    }
    topics
}

fn own_build(field: &Field<'_>, context: &mut Context<'_>) -> Option<OwnBuild> {
    let mut section = field.section(context)?;
    let command_field = section.require("command", "[make]", context);
    let words = command_field.items(context);
    let command: Vec<String> = words
        .iter()
        .filter_map(|word| Some(word.text(context)?.to_owned()))
        .collect();
    if command.first().is_none_or(|program| program.is_empty()) && !command_field.is_absent() {
        command_field.problem(context, "name the program to run, then its arguments");
    }
    let component = section
        .require("component", "out.wasm", context)
        .file_path(context);
    section.finish(context);
    Some(OwnBuild {
        command,
        component: component?,
    })
}

/// Where the component of a plugin is written, below its folder.
pub(super) fn component_path(folder: &Path, name: &str) -> PathBuf {
    folder.join("dist").join(format!("{name}.wasm"))
}

fn plugin(
    field: &Field<'_>,
    name: Option<&str>,
    context: &mut Context<'_>,
) -> Option<crate::config::Plugin> {
    // Where the name is wrong, the section is read all the same, for what else is.
    let name = name.unwrap_or("plugin");
    let component = Component::Built(component_path(context.base, name));
    let empty = Node {
        place: field.place.clone(),
        value: Value::Map(Vec::new()),
    };
    let field = Field {
        path: field.path.clone(),
        place: field.place.clone(),
        node: Some(field.node.unwrap_or(&empty)),
    };
    plugins::one(
        &field,
        component,
        &mut plugins::Others::default(),
        name,
        context,
    )
    .map(|(plugin, _)| plugin)
}
