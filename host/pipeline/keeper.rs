//! Makes effects durable: journals are appended and synced, then one transaction of the store is written. On a
//! thread of its own, because a disk may take hundreds of milliseconds, and outputs must not wait for it.
//!
//! It must not know books, lanes or Kafka: what it is given becomes durable together, or is handed back.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, never};

use super::outside::Store;
use crate::store::{Journal, JournalError, Settle, StoreError};

/// What shall become durable together.
#[derive(Debug, Default)]
pub(crate) struct ToKeep {
    pub(crate) settle: Settle,
    /// Whole lines for journals, by plugin of the group.
    pub(crate) lines: Vec<(usize, Vec<u8>)>,
    /// The time of day, in milliseconds since the Unix epoch.
    pub(crate) now_ms: u64,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Kept {
    /// After a failure nothing of it is durable, and it has to be handed over again. Lines are not among it: their
    /// journal keeps them.
    pub(crate) settle: Settle,
    pub(crate) outcome: Result<(), KeepError>,
}

/// The disk refused. It may have room again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Holds what is written to, and writes.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) store: Arc<dyn Store>,
    /// The journals of plugins that have one, with the plugin's name, by plugin of the group.
    pub(crate) journals: Vec<Option<(String, Journal)>>,
}

impl Keeper {
    /// Works until nobody asks any more.
    pub(crate) fn run(mut self, work: &Receiver<ToKeep>, answers: &Sender<Kept>) {
        for work in work {
            if answers.send(self.keep(work)).is_err() {
                return;
            }
        }
    }

    fn keep(&mut self, work: ToKeep) -> Kept {
        let mut settle = work.settle;
        let outcome = self.write(&mut settle, work.lines, work.now_ms);
        Kept { settle, outcome }
    }

    fn write(
        &mut self,
        settle: &mut Settle,
        lines: Vec<(usize, Vec<u8>)>,
        now_ms: u64,
    ) -> Result<(), KeepError> {
        for (plugin_index, lines) in lines {
            if let Some((_, journal)) = &mut self.journals[plugin_index] {
                journal.append(&lines);
            }
        }
        for (plugin, journal) in self.journals.iter_mut().flatten() {
            if let Some(position) = journal.sync(now_ms)? {
                // After a failed settle an older position may still be there.
                settle.journals.retain(|(of, _)| of != plugin);
                settle.journals.push((plugin.clone(), position));
            }
        }
        // A bounded part of the state whose time has run out goes with it.
        match self.store.expired_state(now_ms) {
            Ok(expired) => settle.expired = expired,
            // The settle itself says so, where it cannot be written either.
            Err(error) => tracing::warn!(%error, "expired state stays for now"),
        }
        if !settle.is_empty() {
            self.store.settle(settle)?;
        }
        Ok(())
    }
}

/// How the settling thread reaches the keeper. One piece of work is under way at most, so what comes next gathers
/// meanwhile and the disk sets the pace.
#[derive(Debug)]
pub(crate) enum Keeping {
    /// The keeper has a thread.
    Thread {
        work: Sender<ToKeep>,
        answers: Receiver<Kept>,
    },
    /// The keeper works when it is waited for: a group that is run by hand has one thread.
    Here(Box<(Keeper, Option<ToKeep>)>),
}

/// A keeper that gets a thread, with its ends of the channels.
pub(crate) type KeeperOfThread = (Keeper, Receiver<ToKeep>, Sender<Kept>);

impl Keeping {
    /// By whoever waits for it.
    pub(crate) fn here(keeper: Keeper) -> Self {
        Self::Here(Box::new((keeper, None)))
    }

    /// Lets the keeper have a thread; none where it has one. What is under way is dropped.
    pub(crate) fn give_thread(&mut self) -> Option<KeeperOfThread> {
        let (work, to_do) = bounded(1);
        let (answer, answers) = bounded(1);
        match std::mem::replace(self, Self::Thread { work, answers }) {
            Self::Here(here) => Some((here.0, to_do, answer)),
            had @ Self::Thread { .. } => {
                *self = had;
                None
            }
        }
    }

    /// Hands work over. None must be under way.
    pub(crate) fn begin(&mut self, to_keep: ToKeep) {
        match self {
            // Where the thread is gone, its alarm has ended the group.
            Self::Thread { work, .. } => drop(work.send(to_keep)),
            Self::Here(here) => here.1 = Some(to_keep),
        }
    }

    /// Where answers arrive.
    pub(crate) fn answers(&self) -> Receiver<Kept> {
        match self {
            Self::Thread { answers, .. } => answers.clone(),
            Self::Here(_) => never(),
        }
    }

    /// Waits for the answer to the work under way; none when nobody will give it.
    pub(crate) fn wait(&mut self) -> Option<Kept> {
        match self {
            Self::Thread { answers, .. } => answers.recv().ok(),
            Self::Here(here) => here.1.take().map(|work| here.0.keep(work)),
        }
    }
}
