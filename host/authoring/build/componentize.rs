//! What a toolchain made, as a component: a core module gets the plugin's world, where its toolchain did not put
//! one in, and what WASI of the first preview means in the second. It must not know any language.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{BinaryReaderError, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{Resolve, WorldId, WorldItem, WorldKey};

use super::{BuildError, Work};
use crate::authoring::scaffold;

/// The name of the plugin's own world in `wit/plugin.wit`.
pub(super) const WORLD: &str = "plugin";

/// A component is layer 1 in the second half of a binary's version; a core module is layer 0.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// What a toolchain made.
pub(super) struct Made {
    /// The file: a component, or a core module.
    pub(super) file: PathBuf,
    /// What answers a core module's imports of WASI's first preview.
    pub(super) adapter: &'static [u8],
}

impl Made {
    /// A component, or a core module that the usual adapter fits.
    pub(super) fn file(file: PathBuf) -> Self {
        Self {
            file,
            adapter: WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        }
    }

    /// A core module that is linked with the SDK, and the adapter that fits it.
    pub(super) fn core(file: PathBuf, adapter: &'static [u8]) -> Self {
        Self { file, adapter }
    }
}

/// The bytes of the component.
pub(super) fn component(work: &Work<'_>, made: &Made) -> Result<Vec<u8>, BuildError> {
    let bytes = fs::read(&made.file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => BuildError::NothingMade {
            path: made.file.clone(),
            advice:
                "the command of the build has to write it; see `build.component` in plugin.yaml"
                    .to_owned(),
        },
        _ => BuildError::file(&made.file, error),
    })?;
    if bytes.starts_with(COMPONENT) {
        return Ok(bytes);
    }
    if !bytes.starts_with(CORE_MODULE) {
        return Err(BuildError::NotComponent {
            path: made.file.clone(),
            message: "it is not WebAssembly at all".to_owned(),
            advice: "let the build make a .wasm file".to_owned(),
        });
    }
    let unfit = |error: anyhow::Error| {
        BuildError::NotComponent {
        path: made.file.clone(),
        message: format!("{error:#}"),
        advice: "it was built for another target or another world than `plugin` in wit/plugin.wit, whose exports it \
                 must have"
            .to_owned(),
    }
    };
    let bytes = without_debug(&bytes).map_err(|error| unfit(error.into()))?;
    let bytes = with_world(work, bytes, &made.file)?;
    ComponentEncoder::default()
        .module(&bytes)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, made.adapter))
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(unfit)
}

/// The module with its world in it: the one that its toolchain put in, or else the plugin's own.
fn with_world(work: &Work<'_>, mut bytes: Vec<u8>, file: &Path) -> Result<Vec<u8>, BuildError> {
    let not_component = |error: anyhow::Error| BuildError::NotComponent {
        path: file.to_owned(),
        message: format!("{error:#}"),
        advice: "build it again, and look at what the toolchain said".to_owned(),
    };
    let (stripped, _) = wit_component::metadata::decode(&bytes).map_err(not_component)?;
    if stripped.is_some() {
        return Ok(bytes);
    }
    let World {
        resolve,
        id,
        imports,
        ..
    } = world(work)?;
    let used = imported(&bytes).map_err(|error| not_component(error.into()))?;
    let outside = |interface: &&str| !imports.iter().any(|import| import == interface);
    in_world(&used.into_iter().filter(outside).collect::<Vec<_>>())?;
    wit_component::embed_component_metadata(&mut bytes, &resolve, id, StringEncoding::UTF8)
        .map_err(not_component)?;
    Ok(bytes)
}

/// The module without what only a debugger reads, which may be thirty times as large as the rest. Names of functions
/// stay: they tell where a plugin trapped.
fn without_debug(module: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut kept = CORE_MODULE.to_vec();
    // Where the section began that was read last: in front of its number and its length.
    let mut began = kept.len();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        let Some((_, range)) = payload.as_section() else {
            continue;
        };
        let is_debug = matches!(&payload, Payload::CustomSection(section) if section.name().starts_with(".debug_"));
        if !is_debug {
            kept.extend_from_slice(module.get(began..range.end).unwrap_or_default());
        }
        began = range.end;
    }
    Ok(kept)
}

/// The interfaces that a core module imports, each once. Preview 1 is no interface.
fn imported(module: &[u8]) -> Result<BTreeSet<&str>, BinaryReaderError> {
    let mut interfaces = BTreeSet::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload? {
            for import in section.into_imports() {
                interfaces.insert(import?.module);
            }
        }
    }
    interfaces.retain(|module| module.contains('/'));
    Ok(interfaces)
}

/// The plugin's own world.
pub(super) struct World {
    resolve: Resolve,
    id: WorldId,
    /// The interfaces that it imports, with their versions.
    pub(super) imports: Vec<String>,
    /// The interfaces that it exports, with their versions.
    pub(super) exports: Vec<String>,
}

impl World {
    /// What stands in the table beside the interfaces that it exports.
    pub(super) fn marks(&self, table: &[(&str, &'static str)]) -> Vec<&'static str> {
        let exported = |interface| {
            let mut names = self.exports.iter().map(|export| export.split('@').next());
            names.any(|name| name == Some(interface))
        };
        let exported = table.iter().filter(|(interface, _)| exported(*interface));
        exported.map(|(_, mark)| *mark).collect()
    }
}

/// Reads the world `plugin` in `wit/plugin.wit`, with the contract beside it.
pub(super) fn world(work: &Work<'_>) -> Result<World, BuildError> {
    let wit = work.wit();
    let unreadable = |error: anyhow::Error| BuildError::Wit {
        path: wit.clone(),
        message: format!("{error:#}"),
        advice: format!(
            "look at wit/plugin.wit: this host's contract is millrace:plugin@{}; `millrace plugin wit` writes the rest \
             of the folder anew",
            scaffold::contract_version()
        ),
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(&wit).map_err(unreadable)?;
    let id = resolve
        .select_world(&[package], Some(WORLD))
        .map_err(unreadable)?;
    let named = |items: &wit_parser::IndexMap<WorldKey, WorldItem>| {
        let interfaces = items
            .iter()
            .filter(|(_, item)| matches!(item, WorldItem::Interface { .. }));
        interfaces
            .map(|(key, _)| resolve.name_world_key(key))
            .collect()
    };
    let world = &resolve.worlds[id];
    let (imports, exports) = (named(&world.imports), named(&world.exports));
    Ok(World {
        resolve,
        id,
        imports,
        exports,
    })
}

/// Refuses what a source imports and its world does not, with the lines that add it.
pub(super) fn in_world(missing: &[&str]) -> Result<(), BuildError> {
    if missing.is_empty() {
        return Ok(());
    }
    let line = |import: &&str| {
        let capability = import
            .strip_prefix("millrace:plugin/")
            .or_else(|| import.strip_prefix("wasi:"));
        let name = capability
            .and_then(|name| name.split(['/', '@']).next())
            .unwrap_or_default();
        format!("include millrace:plugin/with-{name}@0.1.0;")
    };
    Err(BuildError::NotInWorld {
        missing: missing.iter().map(|import| (*import).to_owned()).collect(),
        lines: missing.iter().map(line).collect(),
    })
}
