//! The tape of one instance: what the host answers is written to it, or it answers in the host's place.
//!
//! Every answer that could be another the next time goes through here: clocks, random numbers, state, HTTP. A call
//! has its own beginning on it, so that it holds what the last call was told. It must not know what is done with it.

mod wasi;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::{Rng as _, RngExt as _};

pub(super) use self::wasi::answer_from;
use super::transcript::{Bytes, HostAnswer, Transcript};

/// What the answers of one call may take. A dead letter carries them, and a record is at most 1 MiB by default.
const ANSWERS_BYTES_MAX: usize = 48 << 10;

/// The tape, as everything that answers holds it.
#[derive(Debug, Clone)]
pub(super) struct Tape(Arc<Mutex<Reel>>);

#[derive(Debug)]
struct Reel {
    seed: u128,
    turns: Turns,
}

#[derive(Debug)]
enum Turns {
    Recording(Recording),
    /// Before the call that is to be played back: `init` asks what no transcript of a call answers.
    Waiting(Replay),
    Replaying(Replay),
}

#[derive(Debug, Default)]
struct Recording {
    /// The number of the call.
    call: u64,
    answers: Vec<HostAnswer>,
    bytes: usize,
    writes: u32,
}

/// Where the body of an answer goes: a call's, because a body may outlive it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    call: u64,
    index: usize,
}

/// Answers by kind. What a guest asks of one kind does not depend on when it asks for the others.
#[derive(Debug, Default)]
struct Replay {
    wall: VecDeque<u64>,
    monotonic: VecDeque<u64>,
    random: VecDeque<u8>,
    state: VecDeque<Option<Vec<u8>>>,
    no_room: BTreeMap<u32, String>,
    http: VecDeque<HostAnswer>,
    writes: u32,
    last: (u64, u64),
    missing: Option<&'static str>,
}

impl Recording {
    /// What does not fit is left out, and with it the whole call.
    fn push(&mut self, answer: HostAnswer) {
        self.bytes = self.bytes.saturating_add(answer.bytes());
        if self.bytes <= ANSWERS_BYTES_MAX {
            self.answers.push(answer);
        }
    }
}

impl Replay {
    fn of(transcript: &Transcript) -> Self {
        let mut replay = Self::default();
        for answer in transcript.answers.iter().cloned() {
            match answer {
                HostAnswer::WallClock(ns) => replay.wall.push_back(ns),
                HostAnswer::MonotonicClock(ns) => replay.monotonic.push_back(ns),
                HostAnswer::Random(bytes) => replay.random.extend(bytes.0),
                HostAnswer::State(value) => replay.state.push_back(value.map(|bytes| bytes.0)),
                HostAnswer::NoRoom { write, message } => {
                    replay.no_room.insert(write, message);
                }
                http @ (HostAnswer::Http { .. } | HostAnswer::HttpFailed(_)) => {
                    replay.http.push_back(http);
                }
                HostAnswer::Log(_) => {}
            }
        }
        replay
    }
}

impl Tape {
    /// An empty one to record on.
    pub(super) fn recording() -> Self {
        Self::of(rand::rng().random(), Turns::Recording(Recording::default()))
    }

    /// One that answers as this transcript says.
    pub(super) fn replaying(transcript: &Transcript) -> Self {
        Self::of(transcript.seed(), Turns::Waiting(Replay::of(transcript)))
    }

    /// From here on the tape answers, where it is one that does.
    pub(super) fn play(&self) {
        let turns = &mut self.reel().turns;
        if let Turns::Waiting(replay) = turns {
            *turns = Turns::Replaying(std::mem::take(replay));
        }
    }

    fn of(seed: u128, turns: Turns) -> Self {
        Self(Arc::new(Mutex::new(Reel { seed, turns })))
    }

    fn reel(&self) -> MutexGuard<'_, Reel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The seed that an instance with it is given.
    pub(super) fn seed(&self) -> u128 {
        self.reel().seed
    }

    /// Begins a call.
    pub(super) fn begin_call(&self) {
        if let Turns::Recording(recording) = &mut self.reel().turns {
            recording.answers.clear();
            recording.call += 1;
            (recording.bytes, recording.writes) = (0, 0);
        }
    }

    /// What the last call was told; none where that is too much, or where it was told from a transcript.
    pub(super) fn transcript(&self, fuel: Option<u64>) -> Option<Transcript> {
        let mut reel = self.reel();
        let seed = reel.seed;
        match &mut reel.turns {
            Turns::Recording(recording) if recording.bytes <= ANSWERS_BYTES_MAX => {
                let answers = std::mem::take(&mut recording.answers);
                Some(Transcript::new(seed, fuel, answers))
            }
            _ => None,
        }
    }

    /// What was asked for and is not in the transcript, where something was.
    pub(super) fn missing(&self) -> Option<&'static str> {
        match &self.reel().turns {
            Turns::Replaying(replay) => replay.missing,
            Turns::Recording(_) | Turns::Waiting(_) => None,
        }
    }

    fn wall_ns(&self, live: impl FnOnce() -> u64) -> u64 {
        match &mut self.reel().turns {
            Turns::Recording(recording) => {
                let ns = live();
                recording.push(HostAnswer::WallClock(ns));
                ns
            }
            Turns::Waiting(_) => live(),
            Turns::Replaying(replay) => {
                match replay.wall.pop_front() {
                    Some(ns) => replay.last.0 = ns,
                    None => replay.missing = Some("the time of day"),
                }
                replay.last.0
            }
        }
    }

    fn monotonic_ns(&self, live: impl FnOnce() -> u64) -> u64 {
        match &mut self.reel().turns {
            Turns::Recording(recording) => {
                let ns = live();
                recording.push(HostAnswer::MonotonicClock(ns));
                ns
            }
            Turns::Waiting(_) => live(),
            Turns::Replaying(replay) => {
                match replay.monotonic.pop_front() {
                    Some(ns) => replay.last.1 = ns,
                    None => replay.missing = Some("the monotonic clock"),
                }
                replay.last.1
            }
        }
    }

    fn fill(&self, bytes: &mut [u8]) {
        match &mut self.reel().turns {
            Turns::Recording(recording) => {
                rand::rng().fill_bytes(bytes);
                match recording.answers.last_mut() {
                    // Languages draw a byte at a time.
                    Some(HostAnswer::Random(drawn)) if recording.bytes <= ANSWERS_BYTES_MAX => {
                        drawn.0.extend_from_slice(bytes);
                        recording.bytes += bytes.len();
                    }
                    _ => {
                        recording.push(HostAnswer::Random(Bytes(bytes.to_vec())));
                    }
                }
            }
            Turns::Waiting(_) => rand::rng().fill_bytes(bytes),
            Turns::Replaying(replay) => {
                for byte in bytes {
                    match replay.random.pop_front() {
                        Some(drawn) => *byte = drawn,
                        None => replay.missing = Some("random numbers"),
                    }
                }
            }
        }
    }

    /// A value of the state: `live` is asked, or the transcript.
    pub(super) fn state<E>(
        &self,
        live: impl FnOnce() -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Vec<u8>>, E> {
        if let Turns::Replaying(replay) = &mut self.reel().turns {
            let value = replay.state.pop_front();
            if value.is_none() {
                replay.missing = Some("the state");
            }
            return Ok(value.flatten());
        }
        let value = live()?;
        if let Turns::Recording(recording) = &mut self.reel().turns {
            recording.push(HostAnswer::State(value.clone().map(Bytes)));
        }
        Ok(value)
    }

    /// Whether a change of the state has room: `live` says so, or the transcript.
    pub(super) fn room(&self, live: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        match &mut self.reel().turns {
            Turns::Replaying(replay) => {
                let write = replay.writes;
                replay.writes += 1;
                replay.no_room.remove(&write).map_or(Ok(()), Err)
            }
            Turns::Waiting(_) => live(),
            Turns::Recording(recording) => {
                let write = recording.writes;
                recording.writes += 1;
                live().inspect_err(|message| {
                    let message = message.clone();
                    recording.push(HostAnswer::NoRoom { write, message });
                })
            }
        }
    }

    /// Notes what the plugin logged.
    pub(super) fn log(&self, line: &str) {
        if let Turns::Recording(recording) = &mut self.reel().turns {
            recording.push(HostAnswer::Log(line.to_owned()));
        }
    }

    /// Notes an HTTP request's answer, or that there was none; the place where its body goes.
    pub(super) fn http(&self, answer: HostAnswer) -> Place {
        let Turns::Recording(recording) = &mut self.reel().turns else {
            return Place::default();
        };
        recording.push(answer);
        Place {
            call: recording.call,
            index: recording.answers.len().saturating_sub(1),
        }
    }

    /// Notes a piece of the body of the answer at this place, or how it broke off.
    pub(super) fn http_body(&self, place: Place, piece: Result<&[u8], &str>) {
        let Turns::Recording(recording) = &mut self.reel().turns else {
            return;
        };
        if place.call != recording.call {
            return;
        }
        let added = piece.map_or(0, <[u8]>::len);
        recording.bytes = recording.bytes.saturating_add(added);
        if recording.bytes > ANSWERS_BYTES_MAX {
            return;
        }
        let answer = recording.answers.get_mut(place.index);
        if let Some(HostAnswer::Http { body, failed, .. }) = answer {
            match piece {
                Ok(bytes) => body.0.extend_from_slice(bytes),
                Err(why) => *failed = Some(why.to_owned()),
            }
        }
    }

    /// The next answer to an HTTP request, where the tape answers: none where it has no more.
    pub(super) fn next_http(&self) -> Option<Option<HostAnswer>> {
        match &mut self.reel().turns {
            Turns::Recording(_) | Turns::Waiting(_) => None,
            Turns::Replaying(replay) => {
                let next = replay.http.pop_front();
                if next.is_none() {
                    replay.missing = Some("an answer by HTTP");
                }
                Some(next)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use wasmtime_wasi::HostWallClock as _;

    use super::wasi::{TapedRandom, TapedWallClock};
    use super::*;
    use crate::sandbox::WallClock;

    fn asked(tape: &Tape, wall: u64, state: &[u8]) -> (Duration, u32, Option<Vec<u8>>) {
        #[derive(Debug)]
        struct At(u64);
        impl WallClock for At {
            fn now_ms(&self) -> u64 {
                self.0
            }
        }
        let clock = TapedWallClock {
            tape: tape.clone(),
            clock: Some(Arc::new(At(wall))),
        };
        let mut random = TapedRandom(tape.clone());
        let value = tape.state(|| Ok::<_, Infallible>(Some(state.to_vec())));
        (clock.now(), random.next_u32(), value.unwrap())
    }

    #[test]
    fn what_is_played_back_is_what_was_told_whatever_is_the_case_now() {
        let tape = Tape::recording();
        tape.begin_call();
        let told = asked(&tape, 1_000, b"then");
        let transcript = tape.transcript(None).unwrap();
        let again = Tape::replaying(&transcript);
        assert_eq!(again.seed(), tape.seed());
        assert_eq!(asked(&again, 500, b"init").0, Duration::from_millis(500));
        again.play();
        again.begin_call();
        assert_eq!(asked(&again, 2_000, b"now"), told);
        assert_eq!(again.missing(), None);
        assert_eq!(asked(&again, 3_000, b"now").2, None);
        assert_eq!(again.missing(), Some("random numbers"));
    }

    #[test]
    fn a_call_has_only_what_it_was_told_itself() {
        let tape = Tape::recording();
        asked(&tape, 1, b"of init");
        tape.begin_call();
        tape.log("hello");
        let answers = tape.transcript(None).unwrap().answers;
        assert_eq!(answers, [HostAnswer::Log("hello".to_owned())]);
    }

    #[test]
    fn a_refused_write_is_refused_again_and_no_other() {
        let tape = Tape::recording();
        tape.begin_call();
        assert!(tape.room(|| Ok(())).is_ok());
        assert!(tape.room(|| Err("full".to_owned())).is_err());
        let again = Tape::replaying(&tape.transcript(None).unwrap());
        again.play();
        let verdicts = [(); 3].map(|()| again.room(|| Err("asked".to_owned())));
        assert_eq!(verdicts, [Ok(()), Err("full".to_owned()), Ok(())]);
    }

    #[test]
    fn a_call_that_was_told_too_much_leaves_nothing_and_the_next_one_does() {
        let tape = Tape::recording();
        tape.begin_call();
        for _ in 0..2 {
            let value = vec![0; ANSWERS_BYTES_MAX / 2 + 1];
            tape.state(|| Ok::<_, Infallible>(Some(value))).unwrap();
        }
        assert_eq!(tape.transcript(None), None);
        tape.begin_call();
        asked(&tape, 1, b"a");
        assert!(tape.transcript(None).is_some());
    }
}
