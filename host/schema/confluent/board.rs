//! What is known of the registry, what lanes want to know, and when it is asked next. It must not know HTTP or a
//! clock: time is an argument.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Millis;
use super::codec::Codec;
use super::encoder::{Ready, Target};

/// Schemas that are kept ready. A schema takes kilobytes, a large one a megabyte; what was longest not looked up goes
/// when there are more, and is asked for again.
const SCHEMAS_MAX: usize = 1_000;

/// Numbers that are asked for at once. Anyone who may write to a topic can make them up; each holds back its own
/// events, and those fill the lanes' budget long before.
const WANTED_MAX: usize = 10_000;

/// Who no longer asks for a schema that the registry does not have, has given the partition away.
const FORGET_WANTED_MS: u64 = 60_000;

/// Waits after a failure to reach the registry, in milliseconds; each is twice the one before.
const AWAY_MS: (u64, u64) = (100, 10_000);

/// The same for what the registry answers that it does not have.
const MISSING_MS: (u64, u64) = (500, 30_000);

/// How long an event waits at least before its schema is looked up again: about as long as an answer takes.
const LOOK_AGAIN_MS: u64 = 20;

/// How long it waits at most. To look costs little, and whoever waits should notice soon that the registry is back.
const LOOK_AGAIN_MAX_MS: u64 = 2_000;

/// Numbers that are named in a message for people.
const NUMBERS_SHOWN: usize = 5;

/// What a lane is told.
#[derive(Debug)]
pub(super) enum Found {
    Here(Arc<Codec>),
    /// The registry has it, and this host cannot use it.
    Unusable(Arc<str>),
    NotNow {
        after_ms: u64,
    },
}

/// What to ask the registry.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Schema(u32),
    /// The place of a subject, and what is wanted of it.
    Target(usize, Arc<Target>),
}

#[derive(Debug)]
struct Known {
    codec: Result<Arc<Codec>, Arc<str>>,
    looked_up: Millis,
}

/// Something that is asked for until it is there.
#[derive(Debug)]
struct Wanted {
    asked: bool,
    due: Millis,
    failures: u32,
    /// Why it is not there; none before the first answer.
    why: Option<String>,
    looked_up: Millis,
}

impl Wanted {
    fn new(now: Millis) -> Self {
        Self {
            asked: false,
            due: now,
            failures: 0,
            why: None,
            looked_up: now,
        }
    }

    fn missing(&mut self, now: Millis, why: String) -> bool {
        self.asked = false;
        self.due = now.after(growing(MISSING_MS, self.failures));
        self.failures += 1;
        self.why.replace(why).is_none()
    }

    /// Asked again as soon as anything is: it was not the question that was wrong.
    fn ask_again(&mut self, now: Millis) {
        self.asked = false;
        self.due = now;
    }
}

#[derive(Debug)]
struct Subject {
    target: Arc<Target>,
    ready: Option<Arc<Ready>>,
    wanted: Wanted,
}

#[derive(Debug)]
struct Away {
    failures: u32,
    until: Millis,
    why: String,
}

/// The board.
#[derive(Debug)]
pub(super) struct Board {
    known: HashMap<u32, Known>,
    wanted: HashMap<u32, Wanted>,
    subjects: Vec<Subject>,
    away: Option<Away>,
    refresh_ms: u64,
}

impl Board {
    pub(super) fn new(refresh: Duration) -> Self {
        Self {
            known: HashMap::new(),
            wanted: HashMap::new(),
            subjects: Vec::new(),
            away: None,
            refresh_ms: refresh.as_millis() as u64,
        }
    }

    /// Tells a lane of a schema, and whether there is something new to ask.
    pub(super) fn look_up(&mut self, id: u32, now: Millis) -> (Found, bool) {
        if let Some(known) = self.known.get_mut(&id) {
            known.looked_up = now;
            let found = match &known.codec {
                Ok(codec) => Found::Here(Arc::clone(codec)),
                Err(why) => Found::Unusable(Arc::clone(why)),
            };
            return (found, false);
        }
        let news = !self.wanted.contains_key(&id);
        if news && self.wanted.len() >= WANTED_MAX {
            self.forget_wanted(now);
        }
        if news && self.wanted.len() >= WANTED_MAX {
            // Its turn comes when others have been answered.
            let after_ms = LOOK_AGAIN_MAX_MS;
            return (Found::NotNow { after_ms }, false);
        }
        let wanted = self.wanted.entry(id).or_insert_with(|| Wanted::new(now));
        wanted.looked_up = now;
        let due = wanted.due;
        let after_ms = self.look_again_ms(due, now);
        (Found::NotNow { after_ms }, news)
    }

    /// When to look again for what is asked next at this time.
    fn look_again_ms(&self, due: Millis, now: Millis) -> u64 {
        let away = self.away.as_ref().map_or(now, |away| away.until);
        let due = due.max(away).0.saturating_sub(now.0);
        (due + LOOK_AGAIN_MS).min(LOOK_AGAIN_MAX_MS)
    }

    /// Wants a schema to write by, from now on. Says its place.
    pub(super) fn add_target(&mut self, target: Arc<Target>, now: Millis) -> usize {
        self.subjects.push(Subject {
            target,
            ready: None,
            wanted: Wanted::new(now),
        });
        self.subjects.len() - 1
    }

    /// The schema to write by; none while it is not there.
    pub(super) fn ready(&self, place: usize) -> Option<Arc<Ready>> {
        self.subjects.get(place)?.ready.clone()
    }

    /// How long to wait before looking for it again.
    pub(super) fn ready_after_ms(&self, place: usize, now: Millis) -> u64 {
        let due = self.subjects.get(place).map_or(now, |it| it.wanted.due);
        self.look_again_ms(due, now)
    }

    /// What is to be asked now, so many at most.
    pub(super) fn take_due(&mut self, now: Millis, max: usize) -> Vec<Ask> {
        // While the registry is away, one question finds out whether it is back.
        let max = match &self.away {
            Some(away) if away.until > now => return Vec::new(),
            Some(_) => 1,
            None => max,
        };
        self.forget_wanted(now);
        let is_due = |wanted: &Wanted| !wanted.asked && wanted.due <= now;
        let subjects = self.subjects.iter_mut().enumerate();
        let subjects = subjects.filter(|(_, subject)| is_due(&subject.wanted));
        let subjects = subjects.map(|(place, subject)| {
            subject.wanted.asked = true;
            Ask::Target(place, Arc::clone(&subject.target))
        });
        let mut asks: Vec<Ask> = subjects.take(max).collect();
        let ids = self.wanted.iter_mut();
        let ids = ids.filter(|(_, wanted)| is_due(wanted));
        let left = max - asks.len();
        asks.extend(ids.take(left).map(|(id, wanted)| {
            wanted.asked = true;
            Ask::Schema(*id)
        }));
        asks
    }

    /// When something is to be asked next; none while there is nothing.
    pub(super) fn next_due(&self) -> Option<Millis> {
        let subjects = self.subjects.iter().map(|subject| &subject.wanted);
        let waiting = subjects.chain(self.wanted.values());
        let due = waiting.filter(|wanted| !wanted.asked).map(|it| it.due);
        let due = due.min()?;
        Some(self.away.as_ref().map_or(due, |away| due.max(away.until)))
    }

    /// Takes up a schema that the registry has, usable or not.
    pub(super) fn found(&mut self, id: u32, codec: Result<Arc<Codec>, Arc<str>>, now: Millis) {
        self.back();
        self.wanted.remove(&id);
        if self.known.len() >= SCHEMAS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.looked_up);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.known.remove(&oldest);
            }
        }
        let looked_up = now;
        self.known.insert(id, Known { codec, looked_up });
    }

    /// The registry has no such schema. Says whether that is new.
    pub(super) fn missing(&mut self, id: u32, why: String, now: Millis) -> bool {
        self.back();
        let wanted = self.wanted.get_mut(&id);
        wanted.is_some_and(|wanted| wanted.missing(now, why))
    }

    /// Takes up a schema to write by.
    pub(super) fn target_found(&mut self, place: usize, ready: Arc<Ready>, now: Millis) {
        self.back();
        let refresh_ms = self.refresh_ms;
        if let Some(subject) = self.subjects.get_mut(place) {
            let pinned = subject.target.is_pinned();
            let refresh_ms = if pinned { u64::MAX } else { refresh_ms };
            subject.ready = Some(ready);
            subject.wanted = Wanted::new(now.after(refresh_ms));
        }
    }

    /// The registry has no such subject, or what it has cannot be used. What was there before stays in use. Says
    /// whether that is new.
    pub(super) fn target_missing(&mut self, place: usize, why: String, now: Millis) -> bool {
        self.back();
        let subject = self.subjects.get_mut(place);
        subject.is_some_and(|subject| subject.wanted.missing(now, why))
    }

    /// The registry could not be asked. Says whether that is new.
    pub(super) fn away(&mut self, asked: &Ask, why: String, now: Millis) -> bool {
        let wanted = match asked {
            Ask::Schema(id) => self.wanted.get_mut(id),
            Ask::Target(place, _) => self.subjects.get_mut(*place).map(|it| &mut it.wanted),
        };
        if let Some(wanted) = wanted {
            wanted.ask_again(now);
        }
        let away = self.away.take();
        // Questions that were asked together fail together, and count once.
        if let Some(away) = away.as_ref().filter(|away| away.until > now) {
            let (failures, until) = (away.failures, away.until);
            let news = away.why != why;
            self.away = Some(Away {
                failures,
                until,
                why,
            });
            return news;
        }
        let failures = away.as_ref().map_or(0, |away| away.failures);
        let news = away.is_none_or(|away| away.why != why);
        self.away = Some(Away {
            failures: failures + 1,
            until: now.after(growing(AWAY_MS, failures)),
            why,
        });
        news
    }

    fn back(&mut self) {
        if self.away.take().is_some() {
            tracing::info!("the schema registry answers again");
        }
    }

    /// How many schemas are ready, and how many are waited for.
    pub(super) fn counts(&self) -> (usize, usize) {
        let subjects = self.subjects.iter();
        let waiting = subjects.filter(|subject| subject.ready.is_none());
        (self.known.len(), self.wanted.len() + waiting.count())
    }

    /// What keeps events waiting; none where nothing does.
    pub(super) fn trouble(&self, now: Millis) -> Option<String> {
        let waits = self.counts().1;
        if let Some(away) = self.away.as_ref().filter(|_| waits > 0) {
            return Some(format!(
                "it cannot be asked for {waits} schemas: {}",
                away.why
            ));
        }
        let wants = |wanted: &Wanted| now.0.saturating_sub(wanted.looked_up.0) < FORGET_WANTED_MS;
        let missing = self.wanted.iter();
        let missing = missing.filter(|(_, wanted)| wanted.why.is_some() && wants(wanted));
        let mut ids: Vec<u32> = missing.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let subjects = self.subjects.iter().filter_map(|subject| {
            let why = subject.wanted.why.as_ref()?;
            Some(format!("{}: {why}", subject.target))
        });
        let mut troubles: Vec<String> = subjects.collect();
        if !ids.is_empty() {
            let shown = ids.iter().take(NUMBERS_SHOWN).map(u32::to_string);
            let mut shown = shown.collect::<Vec<_>>().join(", ");
            if ids.len() > NUMBERS_SHOWN {
                shown.push_str(", …");
            }
            troubles.push(format!("it has no schema {shown}, and events wait for it"));
        }
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }

    fn forget_wanted(&mut self, now: Millis) {
        self.wanted.retain(|_, wanted| {
            wanted.asked || now.0.saturating_sub(wanted.looked_up.0) < FORGET_WANTED_MS
        });
    }
}

fn growing((first, most): (u64, u64), failures: u32) -> u64 {
    first.saturating_mul(1 << failures.min(16)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::avro::AvroCodec;

    fn board() -> Board {
        Board::new(Duration::from_secs(300))
    }

    fn codec() -> Arc<Codec> {
        Arc::new(Codec::Avro(AvroCodec::new("\"int\"", []).unwrap()))
    }

    fn after_ms(board: &mut Board, id: u32, now: Millis) -> u64 {
        match board.look_up(id, now).0 {
            Found::NotNow { after_ms } => after_ms,
            other => panic!("{other:?}"),
        }
    }

    fn due(board: &mut Board, now: Millis) -> usize {
        board.take_due(now, 8).len()
    }

    #[test]
    fn a_schema_is_asked_for_once_and_then_known_for_good() {
        let (mut board, now) = (board(), Millis(0));
        assert!(board.look_up(7, now).1, "there is something to ask");
        assert!(!board.look_up(7, now).1, "and only once");
        assert_eq!((due(&mut board, now), due(&mut board, now)), (1, 0));
        assert_eq!(board.next_due(), None);
        board.found(7, Ok(codec()), now);
        assert!(matches!(
            board.look_up(7, Millis(u64::MAX)).0,
            Found::Here(_)
        ));
        assert_eq!((board.counts(), board.trouble(now)), ((1, 0), None));
    }

    #[test]
    fn an_unknown_schema_is_asked_for_again_ever_more_rarely_while_anyone_waits_for_it() {
        let (mut board, mut now) = (board(), Millis(0));
        let mut waits = Vec::new();
        for _ in 0..9 {
            board.look_up(7, now);
            assert_eq!(due(&mut board, now), 1);
            let news = board.missing(7, "there is no such schema".to_owned(), now);
            assert_eq!(news, waits.is_empty(), "it is told once");
            let next = board.next_due().unwrap();
            waits.push(next.0 - now.0);
            assert_eq!(due(&mut board, Millis(next.0 - 1)), 0);
            now = next;
        }
        assert_eq!(waits[..3], [500, 1_000, 2_000]);
        assert_eq!(waits[8], 30_000);
        assert!(after_ms(&mut board, 7, now) <= LOOK_AGAIN_MAX_MS);
        assert!(board.trouble(now).unwrap().contains("no schema 7"));
        now = now.after(FORGET_WANTED_MS);
        assert_eq!((board.trouble(now), due(&mut board, now)), (None, 0));
        assert_eq!(board.counts(), (0, 0), "nobody waits for it any more");
    }

    #[test]
    fn a_registry_that_is_away_is_asked_one_question_at_a_growing_interval() {
        let (mut board, mut now) = (board(), Millis(0));
        for id in 0..20 {
            board.look_up(id, now);
        }
        let asked = board.take_due(now, 8);
        assert_eq!(asked.len(), 8);
        for (at, ask) in asked.iter().enumerate() {
            assert_eq!(board.away(ask, "refused".to_owned(), now), at == 0);
        }
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(due(&mut board, now), 0);
            let next = board.next_due().unwrap();
            waits.push(next.0 - now.0);
            now = next;
            for id in 0..20 {
                board.look_up(id, now);
            }
            let asked = board.take_due(now, 8);
            assert_eq!(asked.len(), 1);
            assert!(!board.away(&asked[0], "refused".to_owned(), now));
        }
        assert_eq!(waits[..3], [100, 200, 400]);
        assert_eq!(waits[8], 10_000);
        assert!(board.trouble(now).unwrap().contains("refused"));
        now = board.next_due().unwrap();
        let Some(Ask::Schema(id)) = board.take_due(now, 8).pop() else {
            panic!("it is asked");
        };
        board.found(id, Ok(codec()), now);
        assert_eq!(due(&mut board, now), 8, "then all others are");
    }

    #[test]
    fn what_is_kept_has_an_end() {
        let (mut board, now) = (board(), Millis(0));
        for id in 0..SCHEMAS_MAX as u32 + 10 {
            board.found(id, Ok(codec()), Millis(u64::from(id)));
        }
        assert_eq!(board.counts().0, SCHEMAS_MAX);
        for id in 10_000..10_000 + WANTED_MAX as u32 + 10 {
            board.look_up(id, now);
        }
        assert_eq!(board.counts().1, WANTED_MAX);
    }
}
