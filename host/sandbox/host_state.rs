//! What one instance's host functions work on: limits, buffered effects, the current call.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::effects::{Effects, StateWrite};
use super::fault::{FaultKind, STATE_QUOTA, Violation};
use super::interfaces::messaging::Messaging;
use super::interfaces::{WebCounts, WebState};
use super::limits::InstanceLimits;
use super::load::LoadedPlugin;
use super::stdio::{PluginLog, Stdio};
use super::tape::{self, Tape};

/// What an effect takes in the host's memory besides its text, counted so that many empty ones end too.
const EFFECT_OVERHEAD_BYTES: usize = 64;

/// Largest answer of one call for random bytes.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// Random bytes that are fixed begin anew after so many: more than an event asks for that is not about them.
const RANDOM_CYCLE_BYTES: usize = 4 << 10;

/// Reads settled state on behalf of the event that is running.
pub trait StateSource: Send + Debug {
    /// The full key of a name: the plugin, the topic-partition and key of this event of the current
    /// batch, then the name.
    fn key(&self, event_index: u32, name: &str) -> Vec<u8>;

    /// The time by which values run out, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// The settled value under a full key, unless its time has run out.
    ///
    /// # Errors
    /// Says why it could not be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String>;

    /// Counts a value of this size that is to be written under a full key.
    ///
    /// # Errors
    /// Says why there is no room for it.
    fn room_for(&self, key: &[u8], value_bytes: usize) -> Result<(), String>;
}

/// A wall clock that plugins read instead of the machine's.
pub trait WallClock: Send + Sync + Debug {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
}

/// That clock, as WASI asks for it.
struct Shown(Arc<dyn WallClock>);

impl HostWallClock for Shown {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now_ms())
    }
}

/// What answers in the place of the machine, where something does.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) clock: Option<Arc<dyn WallClock>>,
    /// Random numbers that are the same for the same seed.
    pub(super) random_seed: Option<u64>,
    /// It comes before the seed.
    pub(super) tape: Option<Tape>,
}

/// The data of a store.
pub(super) struct HostState {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) limits: InstanceLimits,
    pub(super) log: Arc<PluginLog>,
    stdout: Stdio,
    stderr: Stdio,
    pub(super) settings: Arc<Vec<(String, String)>>,
    pub(super) effects: Effects,
    /// What earlier events of a batch wrote, where each event is a call of its own.
    pub(super) earlier_state: Vec<StateWrite>,
    /// Events of the running call; an effect belongs to one of them.
    pub(super) events: u32,
    /// What the effects of the running call may still take, in bytes.
    effect_bytes_left: usize,
    effect_bytes_max: usize,
    /// The event that effects belong to.
    pub(super) event_index: u32,
    /// Host calls left in this call.
    pub(super) calls_left: u32,
    calls_max: u32,
    /// Until when a blocking wait of the guest may last.
    pub(super) deadline: Instant,
    /// Sums that `take` may move; none outside of `on-tick`.
    pub(super) sums: Option<Sums>,
    /// Where state is read from; none where it is not granted.
    pub(super) state_source: Option<Box<dyn StateSource>>,
    web: WebState,
    /// What components of other hosts' worlds send and hold.
    pub(super) messaging: Messaging,
    /// Where answers that could be others the next time are noted or come from; none where nobody asks for that.
    pub(super) tape: Option<Tape>,
}

/// The settled sums that a tick may take.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) left: Vec<(String, i64)>,
    pub(super) taken: Vec<(String, i64)>,
}

impl HostState {
    pub(super) fn new(plugin: &LoadedPlugin, answers: Answers) -> Self {
        let Answers {
            clock,
            random_seed,
            tape,
        } = answers;
        let log = Arc::clone(&plugin.log);
        let stdout = Stdio::new(&log, tracing::Level::INFO);
        let stderr = Stdio::new(&log, tracing::Level::WARN);
        let mut wasi = WasiCtx::builder();
        match (&tape, clock) {
            (Some(tape), clock) => tape::answer_from(tape, clock, &mut wasi),
            (None, Some(clock)) => {
                wasi.wall_clock(Shown(clock));
            }
            (None, None) => {}
        }
        if let Some(seed) = random_seed {
            let mut random = fastrand::Rng::with_seed(seed);
            wasi.insecure_random_seed(random.u128(..));
            for set in [
                WasiCtxBuilder::secure_random,
                WasiCtxBuilder::insecure_random,
            ] {
                let mut bytes = vec![0; RANDOM_CYCLE_BYTES];
                random.fill(&mut bytes);
                set(&mut wasi, Deterministic::new(bytes));
            }
        }
        let wasi = wasi
            .stdout(stdout.clone())
            .stderr(stderr.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM_BYTES_MAX)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(plugin.limits.resources);
        Self {
            wasi,
            table,
            limits: InstanceLimits::new(&plugin.limits),
            web: WebState::new(
                plugin.web.clone(),
                &plugin.limits,
                Arc::clone(&log),
                tape.clone(),
            ),
            messaging: Messaging::new(&plugin.limits),
            log,
            stdout,
            stderr,
            settings: Arc::clone(&plugin.settings),
            effects: Effects::default(),
            earlier_state: Vec::new(),
            events: 0,
            effect_bytes_left: 0,
            effect_bytes_max: 0,
            event_index: 0,
            calls_left: 0,
            calls_max: 0,
            deadline: Instant::now(),
            sums: None,
            state_source: None,
            tape,
        }
    }

    /// Readies the state for a call.
    pub(super) fn begin_call(
        &mut self,
        deadline: Instant,
        events: u32,
        calls_max: u32,
        effect_bytes_max: usize,
    ) {
        self.effects.clear();
        self.limits.memory.refused = false;
        self.limits.table_elements.refused = false;
        (self.event_index, self.events) = (0, events);
        (self.effect_bytes_left, self.effect_bytes_max) = (effect_bytes_max, effect_bytes_max);
        (self.calls_left, self.calls_max) = (calls_max, calls_max);
        self.deadline = deadline;
        self.web.begin_call(deadline, events);
        self.stderr.begin_call();
        if let Some(tape) = &self.tape {
            tape.begin_call();
        }
    }

    /// What the guest said last on standard error in this call: why it gave up, where its language says so.
    pub(super) fn last_words(&self) -> String {
        self.stderr.last_lines()
    }

    /// What HTTP requests work on.
    pub(super) fn web(&mut self) -> (&mut WebState, &mut ResourceTable) {
        (&mut self.web, &mut self.table)
    }

    /// The resources of the host that the guest holds.
    pub(super) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// What HTTP requests came to since this was last asked.
    pub(super) fn take_web_counts(&self) -> WebCounts {
        self.web.take_counts()
    }

    /// Counts one host call.
    ///
    /// # Errors
    /// The call made more than it may.
    pub(super) fn count_call(&mut self) -> wasmtime::Result<()> {
        match self.calls_left.checked_sub(1) {
            Some(left) => {
                self.calls_left = left;
                Ok(())
            }
            None => Err(Violation::of_limit(
                FaultKind::Fuel,
                "host-calls",
                "host_calls",
                format!("more than {} calls of host functions", self.calls_max),
            )),
        }
    }

    /// Checks that an effect is of an event of the running call: an index from outside would read and
    /// write in the name of no event.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn check_index(&self, event_index: u32) -> wasmtime::Result<()> {
        if event_index < self.events {
            return Ok(());
        }
        let message = format!(
            "an effect of event {event_index}, but the call has {}",
            self.events
        );
        Err(Violation::error(FaultKind::Output, "effect-index", message))
    }

    /// Counts what an effect takes. wasmtime bounds each host call by itself; what all of them together
    /// leave in the host's memory is bounded here.
    ///
    /// # Errors
    /// The effects of the call take more than they may.
    pub(super) fn count_effect(&mut self, bytes: usize) -> wasmtime::Result<()> {
        match self
            .effect_bytes_left
            .checked_sub(bytes.saturating_add(EFFECT_OVERHEAD_BYTES))
        {
            Some(left) => {
                self.effect_bytes_left = left;
                Ok(())
            }
            None => Err(Violation::of_limit(
                FaultKind::Fuel,
                "effect-bytes",
                if self.events > 1 {
                    "batch_hostcall"
                } else {
                    "event_hostcall"
                },
                format!("more than {} bytes of effects", self.effect_bytes_max),
            )),
        }
    }

    /// Bytes of effects that the running call has made.
    pub(super) fn effect_bytes(&self) -> usize {
        self.effect_bytes_max - self.effect_bytes_left
    }

    /// What the running event reads: what its key wrote in this call, or else what has settled.
    ///
    /// # Errors
    /// The store cannot be read, which is the host's fault.
    pub(super) fn read_state(&self, name: &str) -> wasmtime::Result<Option<Vec<u8>>> {
        match &self.tape {
            Some(tape) => tape.state(|| self.read_live_state(name)),
            None => self.read_live_state(name),
        }
    }

    fn read_live_state(&self, name: &str) -> wasmtime::Result<Option<Vec<u8>>> {
        let Some(source) = self.state_source.as_ref() else {
            return Ok(None);
        };
        let key = source.key(self.event_index, name);
        let mut written = self
            .effects
            .state
            .iter()
            .rev()
            .chain(self.earlier_state.iter().rev());
        match written.find(|write| write.key == key) {
            Some(write) => Ok(write.value.clone()),
            None => source
                .get(&key)
                .map_err(|message| Violation::error(FaultKind::Host, "state", message)),
        }
    }

    /// Adds a change of state to the effects. A value with a time to live runs out so many milliseconds from now.
    ///
    /// # Errors
    /// The effects of the call, or the state of the partition, take more than they may.
    pub(super) fn write_state(
        &mut self,
        name: &str,
        value: Option<Vec<u8>>,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<()> {
        let no_room = |message: String| {
            Violation::of_limit(FaultKind::Fuel, "state-quota", STATE_QUOTA, message)
        };
        let Some(source) = self.state_source.as_ref() else {
            // Where a tape answers there is no state to change.
            return match (&self.tape, &value) {
                (Some(tape), Some(_)) => tape.room(|| Ok(())).map_err(no_room),
                _ => Ok(()),
            };
        };
        let key = source.key(self.event_index, name);
        let expires_ms = ttl_ms.map(|ttl_ms| source.now_ms().saturating_add(ttl_ms));
        if let Some(value) = &value {
            let room = || source.room_for(&key, value.len());
            match &self.tape {
                Some(tape) => tape.room(room),
                None => room(),
            }
            .map_err(no_room)?;
        }
        self.count_effect(key.len() + value.as_ref().map_or(0, Vec::len))?;
        self.effects.state.push(StateWrite {
            event_index: self.event_index,
            key,
            value,
            expires_ms,
        });
        Ok(())
    }
}

impl Drop for HostState {
    fn drop(&mut self) {
        self.stdout.end();
        self.stderr.end();
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}
