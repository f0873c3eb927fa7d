//! A redrive or a purge on a thread of its own, for whoever asks for it and looks again later. It must not know who does.
//! A host that ends does not wait for it: what was put back and is not remembered, the next redrive finds.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use super::progress::Progress;
use super::purge::{Bound, Purge};
use super::redrive::{Judged, Wish};
use super::{DeadLetters, DeadLettersError};
use crate::config;
use crate::since_1970;

/// What is done.
#[derive(Debug, Clone)]
pub enum Task {
    /// Letters are put back.
    Redrive(Box<Wish>),
    /// Letters are removed, or told.
    Purge {
        /// Up to where.
        bound: Bound,
        /// Says what would be removed, and does nothing.
        dry_run: bool,
    },
}

impl Task {
    /// Whether it only says what would be done.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        match self {
            Self::Redrive(wish) => wish.dry_run,
            Self::Purge { dry_run, .. } => *dry_run,
        }
    }
}

/// A task under way, or done.
#[derive(Debug)]
pub struct Work {
    begun_ms: u64,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    topic: String,
    task: Task,
    progress: Progress,
    /// What is removed, once that is known.
    purge: Mutex<Purge>,
    ended: Mutex<Option<Ended>>,
}

#[derive(Debug, Clone)]
struct Ended {
    at_ms: u64,
    /// Why not everything was done.
    error: Option<String>,
}

impl Work {
    /// Begins.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn begin(kafka: &config::Kafka, topic: &str, task: Task) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            topic: topic.to_owned(),
            task,
            progress: Progress::default(),
            purge: Mutex::default(),
            ended: Mutex::default(),
        });
        let (working, kafka) = (Arc::clone(&shared), kafka.clone());
        let thread = thread::Builder::new()
            .name("letters work".to_owned())
            .spawn(move || {
                let error = working.work(&kafka).err().map(|error| error.to_string());
                let at_ms = since_1970::now_ms();
                *lock(&working.ended) = Some(Ended { at_ms, error });
            })?;
        Ok(Self {
            begun_ms: since_1970::now_ms(),
            shared,
            thread,
        })
    }

    /// Whether it is not done yet.
    #[must_use]
    pub fn runs(&self) -> bool {
        lock(&self.shared.ended).is_none() && !self.thread.is_finished()
    }

    /// Lets a redrive end before its next letter. A purge cannot be ended.
    pub fn stop(&self) {
        self.shared.progress.stop();
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let shared = &self.shared;
        let ended = lock(&shared.ended).clone();
        let stopped = shared.progress.is_stopped();
        let broken = "the host met a bug of its own; its log says more".to_owned();
        let (state, ended_ms, error) = match ended {
            None if !self.runs() => ("failed", None, Some(broken)),
            None if stopped => ("stopping", None, None),
            None => ("running", None, None),
            Some(Ended { at_ms, error }) => match (&error, stopped) {
                (Some(_), _) => ("failed", Some(at_ms), error),
                (None, true) => ("stopped", Some(at_ms), None),
                (None, false) => ("done", Some(at_ms), None),
            },
        };
        let mut told = match &shared.task {
            Task::Redrive(_) => shared.progress.report().to_json(),
            Task::Purge { .. } => lock(&shared.purge).to_json(),
        };
        told["topic"] = json!(shared.topic);
        told["state"] = json!(state);
        told["dry_run"] = json!(shared.task.is_dry_run());
        told["begun_ms"] = json!(self.begun_ms);
        told["ended_ms"] = json!(ended_ms);
        told["error"] = json!(error);
        told
    }
}

impl Shared {
    fn work(&self, kafka: &config::Kafka) -> Result<(), DeadLettersError> {
        let letters = DeadLetters::of(kafka, self.topic.as_str())?;
        match &self.task {
            Task::Redrive(wish) => {
                let judge = &mut |_: &super::Letter| Ok(Judged::Fixed);
                let (_, done) = letters.redrive(wish, judge, &self.progress);
                done
            }
            Task::Purge { bound, dry_run } => {
                let found = letters.doomed(*bound)?;
                *lock(&self.purge) = found.clone();
                if *dry_run {
                    return Ok(());
                }
                letters.purge(&found)
            }
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What it holds is whole between any two statements.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
