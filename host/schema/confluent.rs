//! A schema registry, by Confluent's API and wire format, which other registries speak too: the schemas that records
//! were written by, and are to be written by, under the numbers that the records carry. It must not know topics'
//! routes, lanes or plugins.
//!
//! Lanes ask for a schema and are told at once: here it is, or not now. Everything that waits for the network is done
//! by one thread of the registry's own (`worker`), which works off what lanes have asked for (`board`).

mod asked;
mod board;
mod client;
mod codec;
mod decoder;
mod encoder;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzed;
mod lately;
mod wire;
mod worker;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::Notify;

pub use self::asked::{Unanswered, ask_registry};
use self::board::Board;
use self::client::RegistryClient;
pub(crate) use self::decoder::RegisteredDecoder;
pub(crate) use self::encoder::Ready;
pub use self::encoder::{Encoder, Encoders};
#[cfg(feature = "fuzzing")]
pub(crate) use self::fuzzed::fuzz_values;
use crate::config;

/// Milliseconds since the registry's thread was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Millis(u64);

impl Millis {
    fn after(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// What a question may come to.
const ANSWERS: [&str; 4] = ["ok", "missing", "unusable", "failed"];

/// What lanes and the registry's thread share.
#[derive(Debug)]
struct Shared {
    /// Tells the registries of one process apart.
    serial: u64,
    board: Mutex<Board>,
    /// Told when the board has something new to do.
    wake: Notify,
    began: Instant,
    /// By [`ANSWERS`].
    answers: [AtomicU64; ANSWERS.len()],
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        Millis(self.began.elapsed().as_millis() as u64)
    }
}

/// A schema registry that is asked.
pub(crate) struct SchemaRegistry {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
    stop: Arc<Notify>,
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaRegistry").finish_non_exhaustive()
    }
}

impl SchemaRegistry {
    /// Starts the thread that asks. A registry that is away is no reason not to start: it is asked until it is there.
    ///
    /// # Errors
    /// The settings cannot be used, or there is no thread to be had.
    pub(crate) fn start(settings: &config::SchemaRegistry) -> Result<Self, String> {
        let client = RegistryClient::new(settings)?;
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let shared = Arc::new(Shared {
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            board: Mutex::new(Board::new(settings.refresh)),
            wake: Notify::new(),
            began: Instant::now(),
            answers: Default::default(),
        });
        let stop = Arc::new(Notify::new());
        let worker = worker::start(client, Arc::clone(&shared), Arc::clone(&stop));
        Ok(Self {
            shared,
            worker: Some(worker.map_err(|error| error.to_string())?),
            stop,
        })
    }

    /// What its questions have come to since the start, each with the word for it.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.shared.answers.iter();
        ANSWERS
            .into_iter()
            .zip(counts.map(|count| count.load(Ordering::Relaxed)))
    }

    /// How many schemas are ready, and how many are waited for.
    pub(crate) fn schemas(&self) -> (usize, usize) {
        self.shared.board().counts()
    }

    /// What keeps events waiting, for people; none where nothing does.
    pub(crate) fn trouble(&self) -> Option<String> {
        let now = self.shared.now();
        self.shared.board().trouble(now)
    }
}

impl Drop for SchemaRegistry {
    fn drop(&mut self) {
        // Kept until the thread looks, also where it is busy now.
        self.stop.notify_one();
        if let Some(worker) = self.worker.take()
            && worker.join().is_err()
        {
            tracing::error!("the schema registry's thread panicked");
        }
    }
}
