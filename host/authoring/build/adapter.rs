//! What answers a Go or a C module's imports of WASI's first preview: an adapter of our own, because the usual one
//! ends a component whose collector looks at the clock while the host has it allocate.

use std::sync::LazyLock;

use wit_component::StringEncoding;
use wit_parser::Resolve;

use super::BuildError;

/// Its source, and what it imports of WASI 0.2.
const WAT: &str = include_str!("../../../sdk/adapter/adapter.wat");
const WIT: &str = include_str!("../../../sdk/adapter/adapter.wit");

static ADAPTER: LazyLock<Result<Vec<u8>, String>> =
    LazyLock::new(|| assemble().map_err(|error| format!("{error:#}")));

/// Its bytes, with its world in them.
pub(super) fn bytes() -> Result<&'static [u8], BuildError> {
    match &*ADAPTER {
        Ok(bytes) => Ok(bytes),
        Err(message) => Err(BuildError::Adapter {
            message: message.clone(),
        }),
    }
}

fn assemble() -> anyhow::Result<Vec<u8>> {
    let mut bytes = wat::parse_str(WAT)?;
    let mut resolve = Resolve::default();
    let package = resolve.push_str("adapter.wit", WIT)?;
    let world = resolve.select_world(&[package], None)?;
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8)?;
    Ok(bytes)
}
