//! How long a component takes until it can be called. Measured as a host does it: compiled in a process of its own,
//! kept in a compile cache, and read from there at the next start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config;
use crate::sandbox::{Compiler, Instance, LoadError, LoadedPlugin, Sandbox, SandboxSettings};

/// Instances that are made to find out how long one takes: enough for a median, and no more than fit into a second.
const INSTANCES: usize = 21;
const INSTANCES_TIME: Duration = Duration::from_secs(1);

/// What a start takes.
#[derive(Debug, Clone, Copy)]
pub struct StartUp {
    /// The first time: read, compiled, put into the cache.
    pub cold: Duration,
    /// Every other time: read, and its machine code taken from the cache.
    pub cached: Duration,
    /// An instance, with its `init`; the median of several. Each lane makes one.
    pub instance: Duration,
    /// Memory of a new instance, in bytes.
    pub memory_bytes: usize,
}

impl StartUp {
    /// Measures it.
    ///
    /// # Errors
    /// The component cannot be used.
    pub fn measure(
        compiler: &Compiler,
        name: &str,
        plugin: &config::Plugin,
    ) -> Result<Self, LoadError> {
        let cache = Folder::unused();
        let sandbox = Sandbox::start(SandboxSettings {
            compiler: compiler.clone(),
            compile_cache: Some(cache.0.clone()),
            lanes: 1,
        })?;
        let load = || {
            let began = Instant::now();
            let loaded = LoadedPlugin::load(&sandbox, name, plugin)?;
            Ok((loaded, began.elapsed()))
        };
        let (_, cold) = load()?;
        let (loaded, cached) = load()?;
        let loaded = Arc::new(loaded);
        let (mut times, mut memory_bytes) = (Vec::new(), 0);
        let began = Instant::now();
        while times.len() < INSTANCES && (times.is_empty() || began.elapsed() < INSTANCES_TIME) {
            let began = Instant::now();
            let made = Instance::new(&loaded)?;
            times.push(began.elapsed());
            memory_bytes = made.memory_bytes();
        }
        times.sort_unstable();
        Ok(Self {
            cold,
            cached,
            instance: times[times.len() / 2],
            memory_bytes,
        })
    }
}

/// A folder that nobody else uses, and that goes with this.
struct Folder(PathBuf);

impl Folder {
    fn unused() -> Self {
        let name = format!("millrace-{}-{:016x}", std::process::id(), fastrand::u64(..));
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Where it cannot be removed, the system's own sweeping of temporary folders does it.
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}
