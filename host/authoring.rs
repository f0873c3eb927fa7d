//! What the author of a plugin works with: a folder with a manifest, and what is done with it. It stands beside
//! the daemon: nothing here serves, and nothing that serves knows it.

pub mod bench;
pub mod build;
mod contract;
pub mod dead_letter;
pub mod figures;
pub mod fixture;
pub mod inspect;
pub mod manifest;
pub mod repro;
pub mod rig;
pub mod scaffold;
pub mod scenario;
pub mod shown;
pub mod startup;
pub mod subject;
pub mod watch;

use crate::config;
use crate::sandbox::{Compiler, LoadError, Sandbox, SandboxSettings};

/// Where an author's components are loaded: with the compile cache of this user's hosts, and room for a few.
///
/// # Errors
/// The machine cannot run the engine.
pub fn sandbox(compiler: Compiler) -> Result<Sandbox, LoadError> {
    Sandbox::start(SandboxSettings {
        compiler,
        compile_cache: config::places::own_compile_cache(),
        lanes: 1,
    })
}
