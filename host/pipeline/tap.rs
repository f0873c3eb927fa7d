//! A live look at events with what became of them. While nobody looks it costs one atomic load for a part of a batch.
//! Whoever looks gets so many events a moment and is told how many more there were: lanes never wait for a watcher, and
//! what is kept for one is bounded. It must not know how events are shown.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events that a watcher may be given between two times that it takes them. With ten a second that is two thousand
/// events a second: more than anybody reads, and nothing to a lane.
pub(super) const TAPPED_MAX: usize = 200;

/// Bytes that are kept of each key and each value.
pub(super) const TAPPED_BYTES_MAX: usize = 1_024;

/// Which events a watcher wants to see. What is none is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TapFilter {
    /// Only of this topic; for an event that came back from a retry topic, the one that it came from at first.
    pub topic: Option<String>,
    /// Only of this plugin.
    pub plugin: Option<String>,
}

impl TapFilter {
    fn wants(&self, topic: &str, plugin: &str) -> bool {
        let fits = |wanted: &Option<String>, is| wanted.as_deref().is_none_or(|it| it == is);
        fits(&self.topic, topic) && fits(&self.plugin, plugin)
    }
}

/// The beginning of a key or a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// The first bytes, at most a kilobyte.
    pub bytes: Box<[u8]>,
    /// How long it is in all.
    pub len: usize,
}

impl Beginning {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes[..bytes.len().min(TAPPED_BYTES_MAX)].into(),
            len: bytes.len(),
        }
    }
}

/// One event, and what became of it.
#[derive(Debug, Clone)]
pub struct Tapped {
    /// Its group.
    pub group: Arc<str>,
    /// The topic that it came from at first.
    pub topic: Arc<str>,
    /// Its partition there.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The time of its record, in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<Beginning>,
    /// Its value.
    pub value: Option<Beginning>,
    /// The plugin.
    pub plugin: Arc<str>,
    /// The version that handled it, by name.
    pub version: String,
    /// Which attempt this was, from 1.
    pub attempt: u32,
    /// What became of it: `processed`, `filtered`, `duplicate`, `dead`, `moved`, `retry` or `overloaded`.
    pub outcome: &'static str,
    /// Why, where it failed: the plugin's own code and message, or the host's.
    pub problem: Option<(String, String)>,
    /// When that was, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// Those who look at the events of one group.
#[derive(Debug, Default)]
pub struct Taps {
    /// How many there are.
    watched: AtomicUsize,
    watchers: Mutex<Vec<Arc<Watcher>>>,
}

#[derive(Debug)]
struct Watcher {
    filter: TapFilter,
    room: AtomicUsize,
    dropped: AtomicU64,
    seen: Mutex<Vec<Tapped>>,
}

impl Taps {
    /// Whether anybody looks.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed) > 0
    }

    fn begin(&self, watcher: &Arc<Watcher>) {
        lock(&self.watchers).push(Arc::clone(watcher));
        self.watched.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, watcher: &Arc<Watcher>) {
        lock(&self.watchers).retain(|it| !Arc::ptr_eq(it, watcher));
        self.watched.fetch_sub(1, Ordering::Relaxed);
    }

    /// Shows an event of this topic and plugin to those who want to see it; it is made only where one has room.
    pub(super) fn offer(&self, topic: &str, plugin: &str, make: impl FnOnce() -> Tapped) {
        let mut make = Some(make);
        let mut made: Option<Tapped> = None;
        for watcher in lock(&self.watchers).iter() {
            if !watcher.filter.wants(topic, plugin) {
                continue;
            }
            let one = |room: usize| room.checked_sub(1);
            let has_room = watcher
                .room
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one);
            if has_room.is_err() {
                watcher.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if let Some(make) = make.take() {
                made = Some(make());
            }
            lock(&watcher.seen).extend(made.clone());
        }
    }
}

/// One who looks. Dropping it ends that.
#[derive(Debug)]
pub struct Tap {
    watcher: Arc<Watcher>,
    groups: Vec<Arc<Taps>>,
}

impl Tap {
    /// Looks at nothing yet.
    #[must_use]
    pub fn new(filter: TapFilter) -> Self {
        let watcher = Watcher {
            filter,
            room: AtomicUsize::new(TAPPED_MAX),
            dropped: AtomicU64::new(0),
            seen: Mutex::default(),
        };
        Self {
            watcher: Arc::new(watcher),
            groups: Vec::new(),
        }
    }

    /// Looks at the events of these groups, and of no others.
    pub fn follow(&mut self, groups: Vec<Arc<Taps>>) {
        let is_in = |of: &[Arc<Taps>], one: &Arc<Taps>| of.iter().any(|it| Arc::ptr_eq(it, one));
        for new in groups.iter().filter(|taps| !is_in(&self.groups, taps)) {
            new.begin(&self.watcher);
        }
        for gone in self.groups.iter().filter(|taps| !is_in(&groups, taps)) {
            gone.end(&self.watcher);
        }
        self.groups = groups;
    }

    /// What was seen since the last time, and how many events more there were that had no room.
    #[must_use]
    pub fn take(&self) -> (Vec<Tapped>, u64) {
        let seen = std::mem::take(&mut *lock(&self.watcher.seen));
        let dropped = self.watcher.dropped.swap(0, Ordering::Relaxed);
        self.watcher.room.store(TAPPED_MAX, Ordering::Relaxed);
        (seen, dropped)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.follow(Vec::new());
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it holds is whole between any two statements.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(offset: i64) -> Tapped {
        Tapped {
            group: "g".into(),
            topic: "t".into(),
            partition: 0,
            offset,
            timestamp_ms: None,
            key: None,
            value: Some(Beginning::of(&[7; 5_000])),
            plugin: "p".into(),
            version: "1".to_owned(),
            attempt: 1,
            outcome: "processed",
            problem: None,
            at_ms: 0,
        }
    }

    #[test]
    fn a_watcher_gets_what_has_room_and_the_count_of_the_rest() {
        let taps = Arc::new(Taps::default());
        assert!(!taps.is_watched());
        let mut tap = Tap::new(TapFilter::default());
        tap.follow(vec![Arc::clone(&taps)]);
        tap.follow(vec![Arc::clone(&taps)]);
        assert!(taps.is_watched());
        for offset in 0..1_000 {
            taps.offer("t", "p", || event(offset));
        }
        let (seen, dropped) = tap.take();
        assert_eq!(
            (seen.len(), dropped),
            (TAPPED_MAX, 1_000 - TAPPED_MAX as u64)
        );
        let value = seen[0].value.as_ref().unwrap();
        assert_eq!((value.bytes.len(), value.len), (TAPPED_BYTES_MAX, 5_000));
        taps.offer("t", "p", || event(1_000));
        let (seen, dropped) = tap.take();
        assert_eq!((seen.len(), seen[0].offset, dropped), (1, 1_000, 0));
        drop(tap);
        assert!(!taps.is_watched());
    }

    #[test]
    fn each_watcher_sees_what_it_asked_for_and_nothing_is_made_for_nobody() {
        let taps = Arc::new(Taps::default());
        let of = |topic: Option<&str>, plugin: Option<&str>| {
            let filter = TapFilter {
                topic: topic.map(str::to_owned),
                plugin: plugin.map(str::to_owned),
            };
            let mut tap = Tap::new(filter);
            tap.follow(vec![Arc::clone(&taps)]);
            tap
        };
        let (by_topic, by_plugin) = (of(Some("t"), None), of(None, Some("q")));
        taps.offer("t", "p", || event(1));
        taps.offer("other", "q", || event(2));
        taps.offer("other", "p", || unreachable!("nobody wants it"));
        let offsets = |tap: &Tap| -> Vec<i64> {
            let (seen, _) = tap.take();
            seen.iter().map(|event| event.offset).collect()
        };
        assert_eq!(
            (offsets(&by_topic), offsets(&by_plugin)),
            (vec![1], vec![2])
        );
    }
}
