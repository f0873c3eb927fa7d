//! Whether a host could load what was built: the contract that it was built against, the grants that its imports
//! need, and then loading itself. It must not know how it was built.

use std::path::Path;

use super::{BuildError, Work};
use crate::authoring::manifest::Language;
use crate::authoring::scaffold;
use crate::config::Plugin;
use crate::sandbox::{ComponentFacts, LoadError, LoadedPlugin, Sandbox};

/// What the check found out of a component that a host could load.
pub(super) struct Checked {
    pub(super) uses: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// Refuses a contract of another version before any tool runs: what the tools would say of it is of no help.
pub(super) fn contract(work: &Work<'_>) -> Result<(), BuildError> {
    let found = scaffold::contract_difference(work.manifest).and_then(|it| it.version);
    let Some(found) = found else {
        return Ok(());
    };
    let host = scaffold::contract_version();
    Err(BuildError::StaleContract {
        advice: format!(
            "write the host's contract into the folder with\n  millrace plugin wit\nand write `@{host}` for \
             `@{found}` in wit/plugin.wit, where there is one"
        ),
        found,
        host,
    })
}

/// Checks the component, whose bytes stand in `file`.
pub(super) fn check(
    work: &Work<'_>,
    bytes: &[u8],
    file: &Path,
    sandbox: &Sandbox,
) -> Result<Checked, BuildError> {
    let facts = ComponentFacts::read(bytes).map_err(|message| BuildError::WrongWorld {
        message,
        advice: "build it again, and look at what the toolchain said".to_owned(),
    })?;
    if let Some(unknown) = facts.unknown_imports.first() {
        return Err(BuildError::WrongWorld {
            message: format!("it imports {unknown}, which this host does not have"),
            advice: advice(work.manifest.language, &facts),
        });
    }
    granted(work, &facts)?;
    let plugin = Plugin {
        path: file.to_owned(),
        ..work.manifest.plugin.clone()
    };
    let difference =
        || scaffold::contract_difference(work.manifest).map_or(Vec::new(), |it| it.lines);
    match LoadedPlugin::prepare(sandbox, &work.manifest.name, &plugin) {
        Ok(_) => {}
        Err(LoadError::NoHandler { .. }) => {
            return Err(BuildError::WrongWorld {
                message: format!(
                    "it exports {}, and nothing that handles events",
                    exports(&facts)
                ),
                advice: advice(work.manifest.language, &facts),
            });
        }
        Err(source) => {
            return Err(BuildError::Refused {
                source,
                differences: difference(),
            });
        }
    }
    let notes = difference().into_iter().next().map(|first| {
        format!("note: the contract in the folder is not quite this host's ({first}); `millrace plugin wit` renews it")
    });
    Ok(Checked {
        uses: facts.grants,
        notes: notes.into_iter().collect(),
    })
}

fn exports(facts: &ComponentFacts) -> String {
    if facts.exports.is_empty() {
        "nothing".to_owned()
    } else {
        facts.exports.join(", ")
    }
}

/// What to look at where a component has not what a plugin has.
fn advice(language: Language, facts: &ComponentFacts) -> String {
    let version = scaffold::contract_version();
    let host = format!("@{version}");
    let names = facts.exports.iter().chain(&facts.imports);
    let mut others =
        names.filter(|name| name.starts_with("millrace:plugin/") && !name.ends_with(&host));
    if let Some(other) = others.next() {
        return format!(
            "{other} is of another version of the contract than this host's millrace:plugin{host}; `millrace plugin \
             wit` writes the host's into the folder"
        );
    }
    match language {
        Language::Rust => "write `millrace_sdk::plugin!(handle: handle);` into src/lib.rs, with the function that \
                           handles an event"
            .to_owned(),
        _ => format!(
            "the plugin's world has to say what it is: `include millrace:plugin/handler{host};` in wit/plugin.wit"
        ),
    }
}

/// All that is missing at once.
fn granted(work: &Work<'_>, facts: &ComponentFacts) -> Result<(), BuildError> {
    let grants = &work.manifest.plugin.grants;
    let missing: Vec<String> = facts
        .grants
        .iter()
        .filter(|grant| !grants.has(grant))
        .cloned()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(BuildError::NotGranted { missing })
}
