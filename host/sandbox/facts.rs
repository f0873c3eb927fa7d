//! What a component file says of itself: its version, what it imports and exports, and how much memory it begins
//! with. Nothing is compiled for it.

mod kind;
mod metadata;

use std::collections::BTreeSet;

use wasmparser::{MemoryType, Parser, Payload};

pub use self::kind::NotAComponent;
pub use self::metadata::Metadata;
use super::interfaces::{self, Need};
use super::load;

/// Longest version that is believed, in bytes; more is no version, and would be carried by every output.
const VERSION_BYTES_MAX: usize = 64;

/// Custom sections that describe a component, as the tool conventions of WebAssembly name them.
const DESCRIPTIONS: [&str; 6] = [
    "description",
    "authors",
    "licenses",
    "homepage",
    "source",
    "revision",
];

/// Longest text of a description that is read, in bytes; more is no description.
const DESCRIPTION_BYTES_MAX: usize = 1024;

/// One page of WebAssembly's memory, in bytes, where the module does not choose its own.
const PAGE_LOG2: u32 = 16;

/// What a component file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComponentFacts {
    /// The custom section `version`, where there is one that can be shown.
    pub version: Option<String>,
    /// Interfaces that it imports, sorted.
    pub imports: Vec<String>,
    /// Interfaces and functions that it exports, sorted.
    pub exports: Vec<String>,
    /// The grants that its imports need, sorted.
    pub grants: Vec<String>,
    /// Imports that this host does not have, sorted.
    pub unknown_imports: Vec<String>,
    /// Linear memory that each instance begins with, in bytes.
    pub memory_bytes: u64,
    /// Whether there is any code in it; a WIT package has none.
    pub has_code: bool,
    /// What its author wrote into it for people: name of the section, and its text, as they stand in it.
    pub description: Vec<(&'static str, String)>,
}

impl ComponentFacts {
    /// Reads them.
    ///
    /// # Errors
    /// The bytes are no component, and why. Whether what it holds is valid shows when it is compiled.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if !Parser::is_component(bytes) {
            return Err("it is not a component".to_owned());
        }
        let mut facts = Self::default();
        facts.parse(bytes).map_err(|error| error.to_string())?;
        facts.imports.sort_unstable();
        facts.exports.sort_unstable();
        let mut grants = BTreeSet::new();
        for import in &facts.imports {
            match interfaces::needs(import) {
                Need::Nothing => {}
                Need::Grant(grant) => {
                    grants.insert(grant.to_owned());
                }
                Need::Unknown => facts.unknown_imports.push(import.clone()),
            }
        }
        facts.grants = grants.into_iter().collect();
        Ok(facts)
    }

    /// What it implements that this host can call: a world of the contract, or the handler of another host by its
    /// export. None where there is nothing.
    #[must_use]
    pub fn world(&self) -> Option<&'static str> {
        let exports = |name: &str| self.exports.iter().any(|export| export == name);
        let worlds = load::WORLDS.iter();
        let found = worlds.copied().find(|(export, _)| exports(export));
        found.map(|(_, world)| world)
    }

    /// The optional parts of the contract that it implements, by word.
    #[must_use]
    pub fn options(&self) -> Vec<&'static str> {
        let options = load::OPTIONS.iter().copied();
        let exported = options.filter(|(export, _)| self.exports.iter().any(|it| it == export));
        exported.map(|(_, word)| word).collect()
    }

    /// The grant that an import needs; none where it needs none, or is unknown.
    #[must_use]
    pub fn grant_of(import: &str) -> Option<&'static str> {
        match interfaces::needs(import) {
            Need::Grant(grant) => Some(grant),
            Need::Nothing | Need::Unknown => None,
        }
    }

    fn parse(&mut self, bytes: &[u8]) -> Result<(), wasmparser::BinaryReaderError> {
        // Components hold modules and components; what they import and export is between themselves.
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ModuleSection { .. } => self.has_code = true,
                Payload::MemorySection(section) => {
                    for memory in section {
                        self.memory_bytes = self.memory_bytes.saturating_add(begins_with(memory?));
                    }
                }
                Payload::CustomSection(section) if depth == 1 && section.name() == "version" => {
                    self.version = shown(section.data());
                }
                Payload::CustomSection(section) if depth == 1 => {
                    self.describe(section.name(), section.data());
                }
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        self.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        self.exports.push(export?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn describe(&mut self, name: &str, text: &[u8]) {
        let known = DESCRIPTIONS.into_iter().find(|known| *known == name);
        let text = std::str::from_utf8(text).map(str::trim);
        if let (Some(name), Ok(text)) = (known, text)
            && (1..=DESCRIPTION_BYTES_MAX).contains(&text.len())
            && !text.chars().any(char::is_control)
        {
            self.description.push((name, text.to_owned()));
        }
    }
}

fn begins_with(memory: MemoryType) -> u64 {
    let page_log2 = memory.page_size_log2.unwrap_or(PAGE_LOG2);
    memory
        .initial
        .saturating_mul(1_u64.checked_shl(page_log2).unwrap_or(u64::MAX))
}

/// A version that fits into a label and a header: printable, and without spaces.
fn shown(version: &[u8]) -> Option<String> {
    let fits = (1..=VERSION_BYTES_MAX).contains(&version.len())
        && version.iter().all(u8::is_ascii_graphic);
    fits.then(|| String::from_utf8_lossy(version).into_owned())
}
