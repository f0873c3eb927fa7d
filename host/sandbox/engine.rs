//! The engine of the process, how components come into it, and the thread that advances its epochs.
//!
//! Counting fuel is compiled into a component and slows it down, so there is a second engine for the plugins
//! that want it, made with the first of them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use wasmtime::component::Component;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy,
    WasmBacktraceDetails,
};

use super::compile::{self, Compiler};
use super::compile_cache::CompileCache;
use super::load_error::LoadError;
use crate::config::{self, Limits};

/// How often epochs advance: deadlines are exact to this, and the ticker costs nothing that shows.
pub(super) const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Instances beside those of the lanes: one of each version that is made ready, and one that a lane has made
/// before its old one was gone.
const INSTANCES_SPARE: u32 = 200;

/// A configuration that is taken up while the host runs may have more lanes: twice as many as at the start, and a few
/// more where those were few. What is not used is address space that is only reserved.
const LANES_SPARE: usize = 32;

/// How a sandbox comes by its components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSettings {
    /// Who compiles them.
    pub compiler: Compiler,
    /// Folder of the compile cache; none compiles every time.
    pub compile_cache: Option<PathBuf>,
    /// Lanes that may have an instance at once.
    pub lanes: usize,
}

impl SandboxSettings {
    /// What a configured host needs.
    #[must_use]
    pub fn new(config: &config::Config, compiler: Compiler) -> Self {
        Self {
            compiler,
            compile_cache: config.compile_cache.clone(),
            lanes: (config.lanes() * 2 + LANES_SPARE).min(config::LANES_MAX),
        }
    }
}

impl Default for SandboxSettings {
    /// Compiles in this very process, without a cache: for tests and benches.
    fn default() -> Self {
        Self {
            compiler: Compiler::InProcess,
            compile_cache: None,
            lanes: 800,
        }
    }
}

/// Where components are compiled and run. Deadlines pass as long as it or a plugin of it lives.
#[derive(Debug)]
pub struct Sandbox {
    engines: Arc<Engines>,
    compiler: Compiler,
    cache: Option<CompileCache>,
    ticker: Arc<Ticker>,
    lanes: usize,
}

/// Advances the epochs until it is dropped. Without it a plugin that loops would never end.
#[derive(Debug)]
pub(super) struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Engines {
    plain: Engine,
    /// Counts fuel.
    metered: OnceLock<Engine>,
    instances_max: u32,
}

/// A component file that was read, and how it is to be compiled.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) plugin: &'a str,
    pub(super) path: &'a Path,
    /// SHA-256 of the bytes, in hexadecimal.
    pub(super) digest: &'a str,
    pub(super) bytes: &'a [u8],
    /// Whether it counts fuel.
    pub(super) metered: bool,
    pub(super) compile_time: Duration,
}

impl Sandbox {
    /// Starts the engine and its ticker.
    ///
    /// # Errors
    /// The machine cannot run the engine: too little address space, or an unknown processor.
    pub fn start(settings: SandboxSettings) -> Result<Self, LoadError> {
        let instances_max = settings.lanes as u32 + INSTANCES_SPARE;
        let engines = Arc::new(Engines {
            plain: engine(false, instances_max)?,
            metered: OnceLock::new(),
            instances_max,
        });
        Ok(Self {
            ticker: Arc::new(Ticker::start(Arc::clone(&engines))?),
            engines,
            compiler: settings.compiler,
            cache: settings.compile_cache.and_then(CompileCache::open),
            lanes: settings.lanes,
        })
    }

    /// So many lanes may have an instance at once.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// What lets the deadlines of a plugin pass.
    pub(super) fn ticker(&self) -> Arc<Ticker> {
        Arc::clone(&self.ticker)
    }

    fn engine(&self, metered: bool) -> Result<&Engine, LoadError> {
        let engines = &*self.engines;
        if !metered {
            return Ok(&engines.plain);
        }
        if let Some(engine) = engines.metered.get() {
            return Ok(engine);
        }
        let made = engine(true, engines.instances_max)?;
        // Where another thread was quicker, its engine is the one.
        Ok(engines.metered.get_or_init(|| made))
    }

    /// The machine code of a component: from the cache where it has been compiled before, else compiled now.
    pub(super) fn component(&self, source: &Source<'_>) -> Result<Component, LoadError> {
        let engine = self.engine(source.metered)?;
        let Some(cache) = &self.cache else {
            return believed(engine, &self.compiler.compile(engine, source)?, source);
        };
        let entry = cache.entry(engine, source.digest);
        if let Some(artefact) = cache.get(&entry) {
            match believed(engine, &artefact, source) {
                Ok(component) => return Ok(component),
                Err(error) => {
                    tracing::warn!(plugin = source.plugin, %error, "compiled again: its entry in the compile cache does not load");
                }
            }
        }
        let artefact = self.compiler.compile(engine, source)?;
        let component = believed(engine, &artefact, source)?;
        cache.put(&entry, &artefact);
        Ok(component)
    }
}

/// Takes machine code in that this host's compiler has made.
#[allow(
    unsafe_code,
    reason = "machine code can only be believed; it comes from the host's own compiler, through a pipe or \
              through the cache, which has checked it with the key of this host"
)]
fn believed(engine: &Engine, artefact: &[u8], source: &Source<'_>) -> Result<Component, LoadError> {
    // SAFETY: the bytes were written by wasmtime in this process, or in a process of this very executable, and
    // arrive as they were written: over a pipe that nobody else holds, or from the cache after its check. They
    // are in memory, where nobody changes them.
    let component = unsafe { Component::deserialize(engine, artefact) };
    component.map_err(|error| LoadError::Invalid {
        plugin: source.plugin.to_owned(),
        path: source.path.to_owned(),
        message: compile::one_line(&error),
    })
}

impl Ticker {
    fn start(engines: Arc<Engines>) -> Result<Self, LoadError> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("epochs".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(EPOCH_TICK);
                    engines.plain.increment_epoch();
                    if let Some(metered) = engines.metered.get() {
                        metered.increment_epoch();
                    }
                }
            }
        });
        let thread = thread.map_err(|error| LoadError::Engine {
            message: error.to_string(),
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A ticker that panicked has nothing left to stop.
            let _ended = thread.join();
        }
    }
}

fn engine(metered: bool, instances_max: u32) -> Result<Engine, LoadError> {
    Engine::new(&config(pooling(instances_max), metered))
        // Where the pool's address space cannot be reserved, instances are made one by one.
        .or_else(|_| Engine::new(&config(InstanceAllocationStrategy::OnDemand, metered)))
        .map_err(|error| LoadError::Engine {
            message: format!("{error:#}"),
        })
}

/// An engine that compiles and never runs anything. Its machine code fits the engines that do.
pub(super) fn compiling_engine(metered: bool) -> wasmtime::Result<Engine> {
    Engine::new(&config(InstanceAllocationStrategy::OnDemand, metered))
}

fn config(allocation: InstanceAllocationStrategy, metered: bool) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .epoch_interruption(true)
        .consume_fuel(metered)
        .allocation_strategy(allocation)
        .wasm_component_model(true)
        .wasm_multi_memory(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .concurrency_support(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16))
        // Otherwise a variable of the environment would change what is compiled.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // Plugins come and go; registering their unwind tables with the system is quadratic.
        .native_unwind_info(false);
    config
}

/// The pool refuses nothing that a plugin's limits allow: those end where it does. It reserves address space
/// only, so its numbers are generous.
fn pooling(instances_max: u32) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances_max)
        // Numbers without a reservation behind them.
        .total_core_instances(instances_max.saturating_mul(Limits::INSTANCES_MAX))
        // Toolchains make one memory and two tables.
        .total_memories(instances_max * 2)
        .total_tables(instances_max * 4)
        .table_elements(Limits::TABLE_ELEMENTS_MAX)
        .max_memories_per_component(Limits::MEMORIES_MAX)
        .max_tables_per_component(Limits::TABLES_MAX)
        .max_memories_per_module(Limits::MEMORIES_MAX)
        .max_tables_per_module(Limits::TABLES_MAX)
        .max_core_instances_per_component(Limits::INSTANCES_MAX)
        // Go's metadata, the largest seen, takes about 1 MiB.
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_unused_warm_slots(32);
    InstanceAllocationStrategy::Pooling(pool)
}
