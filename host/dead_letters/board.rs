//! The dead letters of one topic as they are now, for whoever looks again and again. A thread reads on from where it had
//! read to, for as long as somebody looks; whoever asks gets what it had read last, at once. It must not know who looks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Cluster, Clusters, DeadLetters, DeadLettersError, Newest, Redriven};
use crate::config::{self, redriven_topic};
use crate::kafka::reader::{Extent, Scan};

/// Between two readings while somebody looks.
const READ_EVERY: Duration = Duration::from_secs(2);

/// When nobody has looked for so long, nothing is read any more. What was read stays.
const LOOKED_AT_FOR: Duration = Duration::from_secs(60);

/// Letters that are shown, the newest. Whoever wants others asks the command line, which reads them all.
const NEWEST_MAX: usize = 200;

/// Clusters that are shown, the largest.
const CLUSTERS_SHOWN_MAX: usize = 200;

/// A first reading of many letters is shown each time that so many more were read: a fraction of a second's.
const SHOW_EVERY: u64 = 20_000;

/// The dead letters of one topic.
#[derive(Debug)]
pub struct Board {
    kafka: config::Kafka,
    topic: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is answered.
    shown: Arc<Value>,
    looked: Instant,
    /// What was read so far, while no thread has it.
    read: Option<Read>,
}

/// What was read.
#[derive(Debug)]
struct Read {
    clusters: Clusters,
    newest: Newest,
    /// Where each partition began, and what comes next there.
    places: BTreeMap<i32, (i64, i64)>,
    /// What had been put back then, and where that stood.
    redriven: (Redriven, Vec<Extent>),
}

impl Board {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(kafka: &config::Kafka, topic: &str) -> Self {
        Self {
            kafka: kafka.clone(),
            topic: topic.to_owned(),
            state: Mutex::new(State {
                shown: Arc::new(shown(topic, None, (0, false), None)),
                looked: Instant::now(),
                read: Some(Read::default()),
            }),
        }
    }

    /// What was read last. Lets a thread read on, where none does.
    pub fn look(self: &Arc<Self>) -> Arc<Value> {
        let mut state = self.lock();
        state.looked = Instant::now();
        if let Some(read) = state.read.take() {
            let board = Arc::clone(self);
            let started = thread::Builder::new()
                .name("letters".to_owned())
                .spawn(move || board.read(read));
            if let Err(error) = started {
                // What was read went with the thread; the next look begins anew.
                state.read = Some(Read::default());
                let trouble = error.to_string();
                state.shown = Arc::new(shown(&self.topic, None, (0, false), Some(&trouble)));
            }
        }
        Arc::clone(&state.shown)
    }

    fn read(&self, mut read: Read) {
        loop {
            if let Err(error) = self.read_on(&mut read) {
                self.show(&read, false, Some(&error.to_string()));
            }
            thread::sleep(READ_EVERY);
            let mut state = self.lock();
            if state.looked.elapsed() > LOOKED_AT_FOR {
                state.read = Some(read);
                return;
            }
        }
    }

    fn read_on(&self, read: &mut Read) -> Result<(), DeadLettersError> {
        let letters = DeadLetters::of(&self.kafka, self.topic.as_str())?;
        let marks = letters.reader.extents(&redriven_topic(&self.topic))?;
        let marks = marks.unwrap_or_default();
        let extents = letters.extents()?;
        if marks != read.redriven.1 || read.is_of_before(&extents) {
            *read = Read::default();
            read.redriven = (letters.redriven()?, marks);
        }
        let rest: Vec<Extent> = extents.iter().map(|extent| read.rest(*extent)).collect();
        letters.reader.scan(&self.topic, &rest, |record| {
            let letter = super::Letter::new(record);
            let put_back = read.redriven.0.has(&letter);
            read.clusters.add(&letter, put_back);
            read.newest.add(&letter, put_back);
            let place = read.places.entry(letter.record.partition);
            place.or_default().1 = letter.record.offset + 1;
            if read.newest.matched.is_multiple_of(SHOW_EVERY) {
                self.show(read, false, None);
            }
            Ok::<_, DeadLettersError>(Scan::Continue)
        })?;
        for extent in extents {
            read.places
                .insert(extent.partition, (extent.from, extent.end));
        }
        self.show(read, true, None);
        Ok(())
    }

    fn show(&self, read: &Read, complete: bool, trouble: Option<&str>) {
        let letters = (read.newest.matched, complete);
        let shown = Arc::new(shown(&self.topic, Some(read), letters, trouble));
        self.lock().shown = shown;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What it holds is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Read {
    fn default() -> Self {
        Self {
            clusters: Clusters::default(),
            newest: Newest::new(NEWEST_MAX),
            places: BTreeMap::new(),
            redriven: (Redriven::default(), Vec::new()),
        }
    }
}

impl Read {
    /// Whether some of what was read has been removed since, or the topic was made anew.
    fn is_of_before(&self, extents: &[Extent]) -> bool {
        extents.iter().any(|extent| {
            let read = self.places.get(&extent.partition);
            read.is_some_and(|(from, next)| extent.from > *from || extent.end < *next)
        })
    }

    fn rest(&self, extent: Extent) -> Extent {
        let next = self.places.get(&extent.partition).map(|(_, next)| *next);
        Extent {
            from: extent.from.max(next.unwrap_or(extent.from)),
            ..extent
        }
    }
}

fn shown(
    topic: &str,
    read: Option<&Read>,
    (letters, complete): (u64, bool),
    trouble: Option<&str>,
) -> Value {
    let mut clusters = read.map_or_else(Vec::new, |read| read.clusters.clone().sorted());
    let more = clusters.len().saturating_sub(CLUSTERS_SHOWN_MAX);
    clusters.truncate(CLUSTERS_SHOWN_MAX);
    let mut newest = read.map_or_else(Vec::new, |read| read.newest.clone().sorted());
    newest.reverse();
    json!({
        "topic": topic,
        "letters": letters,
        "redriven": clusters.iter().map(|cluster| cluster.redriven).sum::<u64>(),
        "complete": complete,
        "trouble": trouble,
        "clusters": clusters.iter().map(Cluster::to_json).collect::<Vec<_>>(),
        "clusters_more": more,
        "newest": newest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_stays_until_some_of_it_is_gone() {
        let extent = |from, end| Extent {
            partition: 0,
            from,
            end,
        };
        let mut read = Read::default();
        assert!(!read.is_of_before(&[extent(5, 10)]));
        assert_eq!(read.rest(extent(5, 10)), extent(5, 10));
        read.places.insert(0, (5, 10));
        assert!(!read.is_of_before(&[extent(5, 30)]));
        assert_eq!(read.rest(extent(5, 30)), extent(10, 30));
        assert!(read.is_of_before(&[extent(7, 30)]), "some were removed");
        assert!(read.is_of_before(&[extent(5, 9)]), "the topic is another");
    }
}
