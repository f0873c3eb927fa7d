//! JavaScript and TypeScript: esbuild joins the author's files with the SDK's, and `componentize-qjs` puts the result
//! and the engine `QuickJS` into one component.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::componentize::{self, Made, WORLD};
use super::tool::Tool;
use super::{BuildError, Work};
use crate::authoring::manifest::Language;

const NODE: Tool = Tool {
    program: "node",
    beside: &[],
    version: &["--version"],
    least: Some([18, 0]),
    install: "apt-get install nodejs npm   (or from https://nodejs.org)",
};

/// Asked for only where the packages are missing, because it is what installs them.
const NPM: Tool = Tool {
    program: "npm",
    beside: &[],
    version: &["--version"],
    least: None,
    install: "apt-get install npm   (or from https://nodejs.org)",
};

const fn package(program: &'static str, version: &'static [&'static str]) -> Tool {
    Tool {
        program,
        beside: &["node_modules/.bin"],
        version,
        least: None,
        install: "npm install   (in the plugin's folder; package.json names it)",
    }
}

const ESBUILD: Tool = package("esbuild", &["--version"]);
// It has no word for its version.
const COMPONENTIZE: Tool = package("componentize-qjs", &["--help"]);
const TYPESCRIPT: Tool = package("tsc", &["--version"]);

/// Where the SDK's source stands in the plugin's folder.
const SDK: &str = "vendor/millrace";

/// The exports of the contract: the interface, what the component's module calls it, and what makes it.
const EXPORTS: [(&str, &str, &str); 3] = [
    ("millrace:plugin/event-handler", "eventHandler", "handler"),
    ("millrace:plugin/timer", "timer", "timer"),
    ("millrace:plugin/lifecycle", "lifecycle", "lifecycle"),
];

pub(super) fn build(work: &Work<'_>, language: Language) -> Result<Made, BuildError> {
    NODE.find(work)?;
    let installed = |tool: &Tool| {
        let missing = |error| NPM.find(work).err().unwrap_or(error);
        tool.find(work).map_err(missing)
    };
    let (esbuild, componentize) = (installed(&ESBUILD)?, installed(&COMPONENTIZE)?);
    let world = componentize::world(work)?;
    let between = work.between()?;
    let source = if language == Language::TypeScript {
        work.run(
            &installed(&TYPESCRIPT)?,
            &["--noEmit", "--pretty", "false"],
            &[],
        )?;
        "plugin.ts"
    } else {
        "plugin.js"
    };
    let entry = between.join("entry.js");
    super::write(None, &entry, entry_of(source, &world.exports).as_bytes())?;
    let (joined, meta) = (between.join("plugin.js"), between.join("meta.json"));
    let arguments = [
        OsString::from("--bundle"),
        "--format=esm".into(),
        "--platform=neutral".into(),
        "--target=es2023".into(),
        "--log-level=warning".into(),
        "--external:millrace:*".into(),
        "--external:wasi:*".into(),
        format!("--alias:millrace=./{SDK}/index.js").into(),
        format!("--inject:./{SDK}/console.js").into(),
        option("--metafile=", &meta),
        option("--outfile=", &joined),
        entry.into(),
    ];
    work.run(&esbuild, &arguments, &[])?;
    imported(&meta, &world.imports)?;
    let component = between.join("component.wasm");
    let arguments = [
        OsString::from("--sync"),
        "--wit".into(),
        work.wit().into(),
        "--world".into(),
        WORLD.into(),
        "--js".into(),
        joined.into(),
        "--output".into(),
        component.clone().into(),
    ];
    work.run(&componentize, &arguments, &[])?;
    Ok(Made::file(component))
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// The module that the component is made of: the author's functions as the world's exports.
fn entry_of(source: &str, exports: &[String]) -> String {
    let mut entry = format!(
        "// Written by `millrace plugin build`.\nimport * as plugin from \"../src/{source}\";\n\
         import * as exported from \"../{SDK}/exports.js\";\n"
    );
    for (interface, name, make) in EXPORTS {
        if exports
            .iter()
            .any(|export| export.split('@').next() == Some(interface))
        {
            entry.push_str(&format!("export const {name} = exported.{make}(plugin);\n"));
        }
    }
    entry
}

/// Whether the world has what the source imports; the tools find out too late to say it well.
fn imported(meta: &Path, imports: &[String]) -> Result<(), BuildError> {
    let text = fs::read(meta).map_err(|error| BuildError::file(meta, error))?;
    let meta: Value = serde_json::from_slice(&text).unwrap_or_default();
    let outputs = meta["outputs"].as_object().into_iter().flatten();
    let missing: Vec<&str> = outputs
        .filter_map(|(_, output)| output["imports"].as_array())
        .flatten()
        .filter_map(|import| import["path"].as_str())
        .filter(|path| !imports.iter().any(|import| import == path))
        .collect();
    componentize::in_world(&missing)
}
