//! An event that was given up, run again as its last attempt was, and held against what that came to. What the plugin
//! is answered by its host is fixed: the wall clock stands where the event failed for the last time, and random numbers
//! come from a seed. What is not known any more is named. It must not know where the event was kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::fixture::Fixture;
use super::rig::{Circumstances, Outcome, Ran, Rig};
use super::subject::{Subject, SubjectError};
use crate::config::{self, Secrets};
use crate::delivery::dead_letter::{Account, Cause, Header, PREFIX, REDRIVES, is_error_header};
use crate::sandbox::{LoadError, LoadedPlugin, Sandbox, Transcript};

/// Lines of the plugin that are kept, the last ones; each is bounded by the log of the host.
const LINES_MAX: usize = 100;

/// What stands in the place of a secret of the settings.
const HIDDEN: &str = "***";

/// Causes behind which stands that the plugin asked for one more attempt.
const AFTER_RETRIES: [Cause; 3] = [Cause::Exhausted, Cause::Expired, Cause::Evicted];

/// Why an event could not be run again.
#[derive(Debug, thiserror::Error)]
pub enum ReproError {
    /// The component is another version.
    #[error(
        "the event was given up by the component {then}, and {path} is {now}: name the file of that version with \
         --component"
    )]
    AnotherVersion {
        /// SHA-256 of the component that gave it up.
        then: String,
        /// The component that was found.
        path: String,
        /// Its SHA-256.
        now: String,
    },
    /// The component cannot be used.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// No instance can be made of it.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What the cluster takes.
#[derive(Debug, Clone)]
pub struct Takes {
    /// Largest record, in bytes.
    pub message_bytes_max: usize,
    /// How many partitions the topics of outputs have.
    pub output_partitions: BTreeMap<String, usize>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The word for it.
    pub cause: String,
    /// The plugin's own word, or that of a limit.
    pub code: String,
    /// For a person.
    pub message: String,
    /// The functions that it trapped in, innermost first.
    pub frames: String,
}

/// What running it again came to.
#[derive(Debug)]
pub struct Repro {
    /// The plugin.
    pub plugin: String,
    /// SHA-256 of the component, which is that of then.
    pub digest: String,
    /// How the last attempt ended.
    pub then: Ending,
    /// How this one did.
    pub now: Ending,
    /// Whether both ended by the same cause, with the same code, in the same functions.
    pub same: bool,
    /// Whether a further attempt ended as this one did, with the same fuel.
    pub repeatable: bool,
    /// Fuel of the last attempt, where its transcript tells.
    pub fuel_then: Option<u64>,
    /// Fuel of this attempt; none where `limits.fuel` is not set, or its deadline ended it.
    pub fuel: Option<u64>,
    /// The last of what the plugin logged.
    pub lines: Vec<String>,
    /// The plugin's own settings by name; what is secret of them is hidden everywhere else too.
    pub settings: Vec<String>,
    /// What was otherwise then, as far as can be told.
    pub not_reproduced: Vec<&'static str>,
}

/// The event that the plugin was shown, from its dead letter.
#[must_use]
pub fn event_of(letter: &Fixture, headers: &[Header], account: &Account) -> Fixture {
    let origin_prefix = format!("{PREFIX}origin.");
    // What was put back came with these, and its plugin saw them.
    let came_along = |name: &[u8]| {
        account.redrives > 0
            && (name == REDRIVES.as_bytes() || name.starts_with(origin_prefix.as_bytes()))
    };
    let shown = headers
        .iter()
        .filter(|(name, _)| !is_error_header(name) || came_along(name));
    Fixture {
        headers: shown.cloned().collect(),
        attempt: account.attempts.filter(|attempt| *attempt > 0),
        ..letter.clone()
    }
}

/// Runs the event again, twice, each time in a new instance.
///
/// # Errors
/// The component is another version, or cannot be used.
pub fn run(
    sandbox: &Sandbox,
    (name, plugin): (&str, &config::Plugin),
    takes: &Takes,
    (event, account, transcript): (&Fixture, &Account, Option<&Transcript>),
) -> Result<Repro, ReproError> {
    let mut plugin = config::Plugin {
        // Nothing may come of it: what it would ask others is refused.
        only_watches: true,
        trial: None,
        ..plugin.clone()
    };
    plugin.limits.log_lines = u32::MAX;
    let subject = Subject {
        name: name.to_owned(),
        topic: String::new(),
        plugin,
        manifest: None,
    };
    let loaded = subject.load(sandbox)?;
    if !account.digest.is_empty() && account.digest != loaded.digest {
        return Err(ReproError::AnotherVersion {
            then: account.digest.clone(),
            path: subject.plugin.path.display().to_string(),
            now: loaded.digest.clone(),
        });
    }
    let last_ms = account.failed_at_ms.1;
    let circumstances = Circumstances {
        wall_ms: last_ms.and_then(|ms| ms.try_into().ok()).unwrap_or(0),
        random_seed: xxh3_64(event.to_line().as_bytes()),
        message_bytes_max: takes.message_bytes_max,
        output_partitions: takes.output_partitions.clone(),
        transcript: transcript.cloned(),
    };
    let attempt =
        || Ok::<Ran, LoadError>(Rig::under(circumstances.clone(), Arc::clone(&loaded))?.run(event));
    let (ran, again) = (attempt()?, attempt()?);
    Ok(told(
        &subject,
        &loaded,
        (account, transcript),
        (&ran, &again),
    ))
}

fn told(
    subject: &Subject,
    loaded: &LoadedPlugin,
    (account, transcript): (&Account, Option<&Transcript>),
    (ran, again): (&Ran, &Ran),
) -> Repro {
    let secrets = &subject.plugin.secrets();
    let then = Ending {
        cause: account.cause.clone(),
        code: account.code.clone(),
        message: hidden(&account.message, secrets),
        frames: account.frames().to_owned(),
    };
    let (now, then_again) = (
        ending(&ran.outcome, secrets),
        ending(&again.outcome, secrets),
    );
    let first = ran.lines.len().saturating_sub(LINES_MAX);
    let lines = ran.lines[first..].iter();
    Repro {
        plugin: subject.name.clone(),
        digest: loaded.digest.clone(),
        same: is_same(&then, &now),
        repeatable: now == then_again && ran.fuel == again.fuel,
        then,
        now,
        fuel_then: transcript.and_then(|told| told.fuel),
        fuel: ran.fuel,
        lines: lines
            .map(|line| format!("{} {}", line.level, hidden(&line.text, secrets)))
            .collect(),
        settings: subject.plugin.settings.keys().cloned().collect(),
        not_reproduced: match transcript {
            Some(told) => not_told(told, ran, account),
            None => not_reproduced(subject, loaded, account),
        },
    }
}

fn ending(outcome: &Outcome, secrets: &Secrets) -> Ending {
    let (code, message) = outcome.why().unwrap_or_default();
    Ending {
        cause: outcome.word().to_owned(),
        code: code.to_owned(),
        message: hidden(message, secrets),
        frames: outcome.frames().join("<"),
    }
}

/// Whether an attempt ended as the last one did. Messages may hold times and sizes, and are shown beside each other.
fn is_same(then: &Ending, now: &Ending) -> bool {
    let asked_again = AFTER_RETRIES
        .map(Cause::word)
        .contains(&then.cause.as_str());
    let by_cause = then.cause == now.cause || (asked_again && now.cause == "retry");
    // What was given up for its age or its place may have failed by anything.
    let by_fault = asked_again && then.cause != Cause::Exhausted.word();
    // Headers are cut where they are long. Where a deadline ends a loop is chance.
    (by_cause || by_fault)
        && now.code.starts_with(&then.code)
        && (then.cause != Cause::Trap.word() || now.frames.starts_with(&then.frames))
}

fn not_reproduced(
    subject: &Subject,
    loaded: &LoadedPlugin,
    account: &Account,
) -> Vec<&'static str> {
    let grants = &subject.plugin.grants;
    let mut missing = vec![
        "what the instance had kept of earlier events",
        "the wall clock and random numbers of then, which are fixed here",
    ];
    if loaded.uses_state {
        missing.push("the state of its key, which is empty here");
    }
    if !grants.web.is_empty() {
        missing.push("answers to its HTTP requests, which are refused here");
    }
    missing.extend(put_back(account));
    missing
}

/// The same where the answers of then are known.
fn not_told(told: &Transcript, ran: &Ran, account: &Account) -> Vec<&'static str> {
    let mut missing = vec!["what the instance had kept of earlier events"];
    if told.redacted {
        missing.push("what was secret in the host's answers");
    }
    missing.extend(ran.untold);
    missing.extend(put_back(account));
    missing
}

fn put_back(account: &Account) -> Option<&'static str> {
    (account.redrives > 0).then_some(
        "partition and offset of the record that was put back; those of the first are shown",
    )
}

/// The text without what is secret of the plugin's settings.
fn hidden(text: &str, secrets: &Secrets) -> String {
    let left = secrets.taken_out_of_text(text, HIDDEN);
    left.unwrap_or_else(|| text.to_owned())
}

impl Ending {
    fn to_json(&self) -> Value {
        json!({
            "cause": self.cause,
            "code": self.code,
            "message": self.message,
            "frames": self.frames,
        })
    }
}

impl Repro {
    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "plugin": self.plugin,
            "digest": self.digest,
            "same": self.same,
            "repeatable": self.repeatable,
            "fuel_then": self.fuel_then,
            "fuel": self.fuel,
            "then": self.then.to_json(),
            "now": self.now.to_json(),
            "lines": self.lines,
            "settings": self.settings,
            "not_reproduced": self.not_reproduced,
        })
    }
}
