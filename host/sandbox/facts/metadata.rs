//! What the authors and the tools of a component have written into it, for people. Nothing here is believed.

use wasmparser::{
    BinaryReader, ComponentName, ComponentNameSectionReader, CustomSectionReader, Parser, Payload,
    ProducersSectionReader,
};

use crate::sandbox::fault;

/// What a component says of where it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Who wrote it.
    pub authors: Option<String>,
    /// Its licences, as SPDX writes them.
    pub licences: Option<String>,
    /// Where its source is.
    pub source: Option<String>,
    /// Where its page is.
    pub homepage: Option<String>,
    /// The revision of its source.
    pub revision: Option<String>,
    /// Its languages and the tools that made it, over everything in it; each with its version, sorted.
    pub made_by: Vec<String>,
}

impl Metadata {
    /// Reads it. What cannot be read is left out.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut metadata = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload {
                Ok(Payload::Version { .. }) => depth += 1,
                Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
                Ok(Payload::CustomSection(section)) => metadata.section(&section, depth == 1),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        metadata.made_by.sort_unstable();
        metadata.made_by.dedup();
        metadata
    }

    fn section(&mut self, section: &CustomSectionReader<'_>, of_all: bool) {
        let data = section.data();
        let text = || Some(fault::shown(&String::from_utf8_lossy(data))).filter(|t| !t.is_empty());
        match section.name() {
            "producers" => self.producers(BinaryReader::new(data, 0)),
            // What is in a component has a name and an author of its own.
            _ if !of_all => {}
            "component-name" => self.name = name(BinaryReader::new(data, 0)),
            "description" => self.description = text(),
            "authors" => self.authors = text(),
            "licenses" => self.licences = text(),
            "source" => self.source = text(),
            "homepage" => self.homepage = text(),
            "revision" => self.revision = text(),
            _ => {}
        }
    }

    fn producers(&mut self, data: BinaryReader<'_>) {
        let fields = ProducersSectionReader::new(data).into_iter().flatten();
        for value in fields.flatten().flat_map(|field| field.values).flatten() {
            let said = format!("{} {}", value.name, value.version);
            self.made_by.push(fault::shown(said.trim_end()));
        }
    }
}

fn name(data: BinaryReader<'_>) -> Option<String> {
    ComponentNameSectionReader::new(data).find_map(|name| match name {
        Ok(ComponentName::Component { name, .. }) => Some(fault::shown(name)),
        _ => None,
    })
}
