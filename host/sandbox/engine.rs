//! The one engine of the process, and the thread that advances its epochs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

use super::load::LoadError;

/// How often epochs advance: deadlines are exact to this, and the ticker costs nothing that shows.
pub(super) const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Instances that may live at once, over all lanes and plugins. A group has at most 256 lanes a plugin; the
/// pool reserves address space only, so the number is generous.
const INSTANCES_MAX: u32 = 1_000;

/// Where components are compiled and run. Dropping it stops the ticker.
#[derive(Debug)]
pub struct Sandbox {
    pub(super) engine: Engine,
    stop: Arc<AtomicBool>,
    ticker: Option<thread::JoinHandle<()>>,
}

impl Sandbox {
    /// Starts the engine and its ticker.
    ///
    /// # Errors
    /// The machine cannot run the engine: too little address space, or an unknown processor.
    pub fn start() -> Result<Self, LoadError> {
        let engine = Engine::new(&config(pooling()))
            // Where the pool's address space cannot be reserved, instances are made one by one.
            .or_else(|_| Engine::new(&config(InstanceAllocationStrategy::OnDemand)))
            .map_err(|error| LoadError::Engine {
                message: format!("{error:#}"),
            })?;
        let stop = Arc::new(AtomicBool::new(false));
        let ticker = thread::Builder::new().name("epochs".to_owned()).spawn({
            let (engine, stop) = (engine.clone(), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(EPOCH_TICK);
                    engine.increment_epoch();
                }
            }
        });
        let ticker = ticker.map_err(|error| LoadError::Engine {
            message: error.to_string(),
        })?;
        Ok(Self {
            engine,
            stop,
            ticker: Some(ticker),
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            // A ticker that panicked has nothing left to stop.
            let _ended = ticker.join();
        }
    }
}

fn config(allocation: InstanceAllocationStrategy) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .epoch_interruption(true)
        .allocation_strategy(allocation)
        .wasm_component_model(true)
        .wasm_multi_memory(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .concurrency_support(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16))
        // Plugins come and go; registering their unwind tables with the system is quadratic.
        .native_unwind_info(false);
    config
}

fn pooling() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(INSTANCES_MAX)
        .total_core_instances(INSTANCES_MAX * 4)
        .total_memories(INSTANCES_MAX)
        .total_tables(INSTANCES_MAX * 4)
        .table_elements(20_000)
        .max_memories_per_component(4)
        .max_tables_per_component(20)
        .max_core_instances_per_component(20)
        // Go's metadata, the largest seen, takes about 1 MiB.
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_unused_warm_slots(32);
    InstanceAllocationStrategy::Pooling(pool)
}
