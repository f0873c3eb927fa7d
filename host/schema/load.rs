//! Reading a folder of schemas and compiling them. Nothing is fetched that they refer to: it stands in the folder, or
//! the set is refused. It must not know when it is done again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonschema::{PatternOptions, Retrieve, Uri};
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use super::rule_set::{RuleSet, Schema, Types};
use crate::config::{EventTypes, TypeSchemas, Validation};

/// What the addresses of files begin with while they are compiled. Relative references go from there, and cannot leave.
const BASE: &str = "schemas://folder/";

/// A schema is a page or two; a larger file is no schema.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One file for each type of event, and some more that these refer to.
const FILES_MAX: usize = 2_000;

/// Folders in folders. A link back up would go on for ever.
const DEPTH_MAX: usize = 8;

/// The size of one compiled pattern. A larger one is a mistake, or an attack on the memory.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Problems that are told of one set at once.
const PROBLEMS_MAX: usize = 20;

/// Why a set of rules cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rules {rules}: {}", .problems.join("; "))]
pub struct SchemaError {
    /// Their name in the configuration.
    pub rules: String,
    /// Everything that is wrong, each with its file; never empty.
    pub problems: Vec<String>,
}

/// One file, read.
struct File {
    bytes: Vec<u8>,
}

/// Reads and compiles a set of rules.
///
/// # Errors
/// Everything that is wrong with its files.
pub(super) fn load(rules: &str, validation: &Validation) -> Result<RuleSet, SchemaError> {
    let refused = |problems| SchemaError {
        rules: rules.to_owned(),
        problems,
    };
    let files = read(&validation.folder).map_err(|problem| refused(vec![problem]))?;
    let mut problems = Vec::new();
    let documents = documents(&files, &mut problems);
    let compiler = Compiler {
        known: Known(Arc::new(by_address(&documents, &mut problems))),
        documents: &documents,
        formats: validation.formats,
    };
    let mut schema = |file: &str, key: &str| {
        // Of a file that is no JSON that has been told.
        if files.contains_key(file) && !documents.contains_key(file) {
            return None;
        }
        let compiled = compiler.compile(file, key);
        compiled.map_err(|problem| problems.push(problem)).ok()
    };
    let envelope = validation.envelope.as_ref();
    let envelope = envelope.and_then(|file| schema(file, "envelope"));
    let types = validation.types.as_ref().map(|types| Types {
        settings: types.clone(),
        schemas: type_files(types, &files)
            .into_iter()
            .filter_map(|(name, file)| Some((name, schema(&file, "types")?)))
            .collect(),
    });
    if let Some(EventTypes {
        schemas: TypeSchemas::Folder(folder),
        ..
    }) = &validation.types
        && types.as_ref().is_some_and(|types| types.schemas.is_empty())
        && problems.is_empty()
    {
        problems.push(format!(
            "there is no `TYPE.json` in {}; write one for each type of event",
            validation.folder.join(folder).display()
        ));
    }
    if !problems.is_empty() {
        problems.truncate(PROBLEMS_MAX);
        return Err(refused(problems));
    }
    Ok(RuleSet {
        envelope,
        types,
        digest: digest(&files),
        files: files.len(),
    })
}

/// Every schema below a folder, by its path from there with `/` between its parts.
fn read(folder: &Path) -> Result<BTreeMap<String, File>, String> {
    let mut files = BTreeMap::new();
    let mut open: Vec<(PathBuf, String, usize)> = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((path, prefix, depth)) = open.pop() {
        let unreadable =
            |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
        for entry in std::fs::read_dir(&path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // Kubernetes keeps what its links lead to in hidden folders, and editors what is not saved yet.
            if name.starts_with('.') {
                continue;
            }
            let below = format!("{prefix}{name}");
            // Follows links, which is how files are mounted.
            let Ok(found) = std::fs::metadata(entry.path()) else {
                continue;
            };
            if found.is_dir() {
                if depth == DEPTH_MAX {
                    return Err(format!(
                        "{below} lies more than {DEPTH_MAX} folders deep; is it a link back up?"
                    ));
                }
                open.push((entry.path(), format!("{below}/"), depth + 1));
            } else if found.is_file() && name.ends_with(".json") {
                let bytes = read_file(&entry.path(), found.len())
                    .map_err(|problem| format!("{below} {problem}"))?;
                files.insert(below, File { bytes });
            }
            if files.len() > FILES_MAX {
                return Err(format!(
                    "{} has more than {FILES_MAX} schemas; split them into several rules",
                    folder.display()
                ));
            }
        }
    }
    Ok(files)
}

fn read_file(path: &Path, bytes: u64) -> Result<Vec<u8>, String> {
    if bytes > FILE_BYTES_MAX {
        return Err(format!("has {bytes} bytes, and a schema has 1MiB at most"));
    }
    std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))
}

fn documents(
    files: &BTreeMap<String, File>,
    problems: &mut Vec<String>,
) -> BTreeMap<String, Value> {
    let mut documents = BTreeMap::new();
    for (name, file) in files {
        match serde_json::from_slice::<Value>(&file.bytes) {
            Ok(value) => {
                documents.insert(name.clone(), value);
            }
            Err(error) => problems.push(format!("{name} is no JSON: {error}")),
        }
    }
    documents
}

/// Each document by the address of its file, and by its own `$id` where it has one.
fn by_address(
    documents: &BTreeMap<String, Value>,
    problems: &mut Vec<String>,
) -> BTreeMap<String, Value> {
    let mut known = BTreeMap::new();
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, document) in documents {
        known.insert(address(name), document.clone());
        if let Some(id) = document.get("$id").and_then(Value::as_str) {
            let id = id.trim_end_matches('#');
            if let Some(owner) = owners.insert(id, name) {
                problems.push(format!("{name} has the `$id` {id}, which {owner} has too"));
            }
            known.insert(id.to_owned(), document.clone());
        }
    }
    known
}

/// The address of a file. What has a meaning in an address is written as its code.
fn address(file: &str) -> String {
    let mut address = BASE.to_owned();
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b'~') {
            address.push(char::from(byte));
        } else {
            address.push_str(&format!("%{byte:02X}"));
        }
    }
    address
}

/// The schemas of the types: type to file.
fn type_files(types: &EventTypes, files: &BTreeMap<String, File>) -> BTreeMap<String, String> {
    match &types.schemas {
        TypeSchemas::Files(files) => files.clone(),
        TypeSchemas::Folder(folder) => {
            let prefix = match folder.as_str() {
                "" => String::new(),
                folder => format!("{folder}/"),
            };
            let named = files.keys().filter_map(|file| {
                let name = file.strip_prefix(&prefix)?.strip_suffix(".json")?;
                Some((name.to_owned(), file.clone()))
            });
            named.collect()
        }
    }
}

/// Tells one state of the files from another.
fn digest(files: &BTreeMap<String, File>) -> u64 {
    let mut digest = Xxh3::new();
    for (name, file) in files {
        for part in [name.as_bytes(), &file.bytes] {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    }
    digest.digest()
}

/// What a reference may lead to.
struct Known(Arc<BTreeMap<String, Value>>);

/// What is said of a reference that leads elsewhere.
#[derive(Debug, thiserror::Error)]
#[error(
    "it is no file in the folder of these schemas, nor the `$id` of one, and nothing is fetched from elsewhere"
)]
struct Elsewhere;

impl Retrieve for Known {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let address = uri.as_str();
        let address = address.split('#').next().unwrap_or(address);
        let known = self.0.get(address).cloned();
        known.ok_or_else(|| Elsewhere.into())
    }
}

struct Compiler<'a> {
    known: Known,
    documents: &'a BTreeMap<String, Value>,
    formats: bool,
}

impl Compiler<'_> {
    /// Compiles the schema in a file that `key` of the configuration asks for.
    fn compile(&self, file: &str, key: &str) -> Result<Schema, String> {
        let Some(document) = self.documents.get(file) else {
            return Err(format!("{file} is not in the folder, and `{key}` names it"));
        };
        let compiled = jsonschema::options()
            .with_base_uri(address(file))
            .with_retriever(Known(Arc::clone(&self.known.0)))
            .should_validate_formats(self.formats)
            // Without look-around and references back, which can take a time that an event chooses.
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
            .build(document);
        let validator = compiled.map_err(|error| {
            let at = error.instance_path();
            let hint =
                if at.as_str().ends_with("/pattern") || at.as_str().contains("patternProperties") {
                    "; a pattern may not look around or refer back"
                } else {
                    ""
                };
            let error = error.to_string().replace(BASE, "");
            format!("{file}#{at}: {error}{hint}")
        })?;
        Ok(Schema {
            file: file.to_owned(),
            validator,
            base: BASE,
        })
    }
}
