//! From the text of a file to its messages. It must not know data.

use std::collections::HashMap;

use prost_reflect::FileDescriptor;
use protox::file::{File, FileResolver, GoogleFileResolver};
use protox::{Compiler, Error};

/// What the file itself is called; no import can mean it.
const MAIN: &str = "schema.proto";

/// Files by the name that they are imported by.
struct Files {
    texts: HashMap<String, String>,
    google: GoogleFileResolver,
}

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        match self.texts.get(name) {
            Some(text) => File::from_source(name, text),
            // Google's own are part of every compiler.
            None => self.google.open_file(name),
        }
    }
}

/// Compiles a file together with those that it imports.
pub(super) fn compile<'a>(
    schema: &str,
    references: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<FileDescriptor, String> {
    let references = references.into_iter();
    let mut texts: HashMap<String, String> = references
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect();
    texts.insert(MAIN.to_owned(), schema.to_owned());
    let mut compiler = Compiler::with_file_resolver(Files {
        texts,
        google: GoogleFileResolver::new(),
    });
    compiler
        .open_file(MAIN)
        .map_err(|error| error.to_string())?;
    let file = compiler.descriptor_pool().get_file_by_name(MAIN);
    file.ok_or_else(|| "the compiler does not have the file".to_owned())
}
