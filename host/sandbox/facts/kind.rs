//! What a file is that was given for a component, where it is none, and what to do about it. It must not know what
//! a component holds.

use std::path::{Path, PathBuf};

use wasmparser::Parser;

use super::ComponentFacts;

/// A file that was given for a component and is something else. Whoever named it must act.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum NotAComponent {
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is a folder: name the component in it, for example dist/NAME.wasm", path.display())]
    Folder { path: PathBuf },
    #[error("{} is empty: build it again", path.display())]
    Empty { path: PathBuf },
    #[error(
        "{} is a core module, not a component: `millrace plugin build` makes components in every language; a crate \
         of Rust is built for wasm32-wasip2", path.display()
    )]
    CoreModule { path: PathBuf },
    #[error(
        "{} is a WIT package: it says what components look like, and has no code; build a plugin against it and \
         name what the build makes", path.display()
    )]
    WitPackage { path: PathBuf },
    #[error(
        "{} is compiled machine code, which is never loaded: give the .wasm component it was made from",
        path.display()
    )]
    MachineCode { path: PathBuf },
    #[error("{} is compressed: unpack it first", path.display())]
    Compressed { path: PathBuf },
    #[error("{} is {what}, not a component: build it, and name the .wasm that the build makes", path.display())]
    Source { path: PathBuf, what: &'static str },
    #[error("{} is not WebAssembly: its first bytes are not those of any", path.display())]
    NotWasm { path: PathBuf },
    #[error("{} is a damaged component: {message}; build it again", path.display())]
    Damaged { path: PathBuf, message: String },
}

impl ComponentFacts {
    /// Reads a component file, with its bytes.
    ///
    /// # Errors
    /// It cannot be read, or is something else: what, and what to do.
    pub fn of_file(path: &Path) -> Result<(Self, Vec<u8>), NotAComponent> {
        let path = path.to_owned();
        if path.is_dir() {
            return Err(NotAComponent::Folder { path });
        }
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(NotAComponent::Read { path, source }),
        };
        if let Some(other) = another_kind(&path, &bytes) {
            return Err(other);
        }
        match Self::read(&bytes) {
            Ok(facts) if facts.has_code => Ok((facts, bytes)),
            Ok(_) => Err(NotAComponent::WitPackage { path }),
            Err(message) => Err(NotAComponent::Damaged { path, message }),
        }
    }
}

/// What else the bytes are than a component.
fn another_kind(path: &Path, bytes: &[u8]) -> Option<NotAComponent> {
    if Parser::is_component(bytes) {
        return None;
    }
    let path = path.to_owned();
    if bytes.is_empty() {
        return Some(NotAComponent::Empty { path });
    }
    if Parser::is_core_wasm(bytes) {
        return Some(NotAComponent::CoreModule { path });
    }
    if bytes.starts_with(b"\x7fELF") {
        return Some(NotAComponent::MachineCode { path });
    }
    if bytes.starts_with(b"\x1f\x8b") || bytes.starts_with(b"PK\x03\x04") {
        return Some(NotAComponent::Compressed { path });
    }
    let what = match path.extension().and_then(|extension| extension.to_str()) {
        _ if bytes.trim_ascii_start().starts_with(b"(component") => "a component as text",
        _ if bytes.trim_ascii_start().starts_with(b"(module") => "a core module as text",
        Some("wit") => "the source of a contract",
        Some("rs" | "js" | "mjs" | "ts" | "py" | "go" | "c" | "cpp" | "h" | "wat") => "source code",
        _ => return Some(NotAComponent::NotWasm { path }),
    };
    Some(NotAComponent::Source { path, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        ComponentFacts::of_file(&file).unwrap_err().to_string()
    }

    #[test]
    fn everything_that_is_no_component_is_told_apart() {
        assert!(told("a.wasm", b"").contains("is empty"));
        assert!(told("a.wasm", b"\0asm\x01\0\0\0").contains("core module"));
        assert!(told("a.wasm", b"\0asm\x0d\0\x01\0").contains("WIT package"));
        assert!(told("a.wasm", b"\0asm\x0d\0\x01\0\x01").contains("damaged"));
        assert!(told("a.wasm", b"\x7fELF...").contains("machine code"));
        assert!(told("a.wasm", b"\x1f\x8b...").contains("compressed"));
        assert!(told("a.wat", b"\n (component)").contains("as text"));
        assert!(told("lib.rs", b"fn main() {}").contains("source code"));
        assert!(told("a.wit", b"package a:b;").contains("contract"));
        assert!(told("a.wasm", b"root:x:0").contains("not WebAssembly"));
        let folder = ComponentFacts::of_file(Path::new("/")).unwrap_err();
        assert!(folder.to_string().contains("is a folder"));
    }
}
