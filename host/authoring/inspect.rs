//! What a component file is and wants, for its author and for whoever is to grant something to it. Nothing of it
//! runs, unless its start-up is asked for. It must not know where components are kept.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::figures::{bytes, duration, micros};
use super::startup::StartUp;
use crate::config;
use crate::sandbox::{Compiler, ComponentFacts, LoadError, Metadata, NotAComponent, digest_of};

/// What a component says of itself.
#[derive(Debug)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it, in hexadecimal.
    pub digest: String,
    /// What it imports and exports.
    pub facts: ComponentFacts,
    /// What its author and its tools say.
    pub metadata: Metadata,
    /// How long it takes to start, or why it does not; none where that was not asked for.
    pub startup: Option<Result<StartUp, LoadError>>,
}

impl Inspection {
    /// Reads a file.
    ///
    /// # Errors
    /// It is no component: what it is, and what to do.
    pub fn read(path: &Path) -> Result<Self, NotAComponent> {
        let (facts, bytes) = ComponentFacts::of_file(path)?;
        Ok(Self {
            path: path.to_owned(),
            bytes: bytes.len() as u64,
            digest: digest_of(&bytes),
            metadata: Metadata::read(&bytes),
            facts,
            startup: None,
        })
    }

    /// Compiles and starts it with everything granted that it imports.
    pub fn start(&mut self, compiler: &Compiler) {
        let mut plugin = config::Plugin::of_component(self.path.clone());
        for word in &self.facts.grants {
            // The words are the host's own; where one needs a name, any will do, because nothing is asked of it.
            let _granted = config::add_grant(&mut plugin.grants, word);
        }
        self.startup = Some(StartUp::measure(compiler, &self.name(), &plugin));
    }

    fn name(&self) -> String {
        let stem = || {
            self.path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        self.metadata.name.clone().unwrap_or_else(stem)
    }

    /// Whether a host could load it.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.facts.world().is_some()
            && self.facts.unknown_imports.is_empty()
            && !matches!(self.startup, Some(Err(_)))
    }

    /// One JSON value.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (facts, metadata) = (&self.facts, &self.metadata);
        let mut told = json!({
            "path": self.path.display().to_string(),
            "name": self.name(),
            "version": facts.version,
            "world": facts.world(),
            "options": facts.options(),
            "grants": facts.grants,
            "unknown_imports": facts.unknown_imports,
            "imports": facts.imports,
            "exports": facts.exports,
            "bytes": self.bytes,
            "memory_bytes": facts.memory_bytes,
            "digest": self.digest,
            "description": metadata.description,
            "authors": metadata.authors,
            "licences": metadata.licences,
            "source": metadata.source,
            "homepage": metadata.homepage,
            "revision": metadata.revision,
            "made_by": metadata.made_by,
            "fits": self.fits(),
        });
        match &self.startup {
            Some(Ok(startup)) => {
                told["compile_us"] = json!(micros(startup.cold));
                told["cached_us"] = json!(micros(startup.cached));
                told["instance_us"] = json!(micros(startup.instance));
            }
            Some(Err(error)) => told["does_not_start"] = json!(error.to_string()),
            None => {}
        }
        told
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (facts, metadata) = (&self.facts, &self.metadata);
        let version = facts
            .version
            .as_deref()
            .map_or(String::new(), |v| format!(" {v}"));
        writeln!(f, "{}{version}", self.name())?;
        let mut row = |name: &str, text: &str| writeln!(f, "  {name:<9} {text}");
        row("world", &self.world())?;
        let grants = match &facts.grants[..] {
            [] => "nothing".to_owned(),
            grants => grants.join(", "),
        };
        row("needs", &format!("{grants}{}", self.outputs_too()))?;
        for import in &facts.unknown_imports {
            row("lacks", &format!("{import}, which this host does not have"))?;
        }
        row("size", &bytes(self.bytes))?;
        row(
            "memory",
            &format!("{} at the start", bytes(facts.memory_bytes)),
        )?;
        row("digest", &format!("sha256:{}", self.digest))?;
        for (name, text) in [
            ("about", &metadata.description),
            ("authors", &metadata.authors),
            ("licence", &metadata.licences),
            ("source", &metadata.source),
            ("homepage", &metadata.homepage),
            ("revision", &metadata.revision),
        ] {
            if let Some(text) = text {
                row(name, text)?;
            }
        }
        if !metadata.made_by.is_empty() {
            // Some tools say in brackets what they are made of themselves.
            let short = |by: &String| by.split(" (").next().unwrap_or(by).to_owned();
            let made_by: Vec<String> = metadata.made_by.iter().map(short).collect();
            row("made by", &made_by.join(", "))?;
        }
        let mut first = "imports";
        for import in &facts.imports {
            match ComponentFacts::grant_of(import) {
                Some(grant) => row(first, &format!("{import:<36} {grant}"))?,
                None if import.starts_with("wasi:") => continue,
                None => row(first, import)?,
            }
            first = "";
        }
        let wasi = facts
            .imports
            .iter()
            .filter(|import| self.is_denied(import))
            .count();
        if wasi > 0 {
            row(
                first,
                &format!("{wasi} interfaces of WASI 0.2, linked with everything denied"),
            )?;
        }
        let mut first = "exports";
        for export in &facts.exports {
            row(first, export)?;
            first = "";
        }
        match &self.startup {
            Some(Ok(startup)) => row("start-up", &started(startup)),
            Some(Err(error)) => row("start-up", &error.to_string()),
            None => Ok(()),
        }
    }
}

impl Inspection {
    fn world(&self) -> String {
        match (self.facts.world(), &self.facts.options()[..]) {
            (None, _) => "none of millrace:plugin@0.1.0: a plugin exports `handler` or `batch-handler` of it, and a \
                          contract that has changed is taken over by building again"
                .to_owned(),
            (Some(world), []) => world.to_owned(),
            (Some(world), options) => format!("{world}, with {}", options.join(" and ")),
        }
    }

    fn outputs_too(&self) -> &'static str {
        if self.facts.world().is_some() {
            "; and output:TOPIC for each topic that it writes to"
        } else {
            ""
        }
    }

    fn is_denied(&self, import: &String) -> bool {
        import.starts_with("wasi:")
            && ComponentFacts::grant_of(import).is_none()
            && !self.facts.unknown_imports.contains(import)
    }
}

fn started(startup: &StartUp) -> String {
    format!(
        "compiled in {}, from the cache in {}, an instance in {}",
        duration(startup.cold),
        duration(startup.cached),
        duration(startup.instance)
    )
}
