//! Who has a place among the connections of a server. When places are scarce, a stranger that has been there longest
//! and has shown nothing makes room, so that slow connections cannot keep others out.
//!
//! It must not know what is spoken, or how a connection is closed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// All places of a server.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    next: u64,
    /// Connections that have shown nothing yet, oldest first, and how each is told to go.
    strangers: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            taken: Mutex::default(),
        })
    }

    /// A place, and what resolves to `Ok` when it must be left. None when every place belongs to somebody known.
    pub(super) fn take(
        self: &Arc<Self>,
        address: SocketAddr,
    ) -> Option<(Peer, oneshot::Receiver<()>)> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.count < self.max {
            taken.count += 1;
        } else {
            // Its place is counted for the new one from here on.
            let (_, cut) = taken.strangers.pop_first()?;
            // Its receiver is gone only when it is leaving by itself.
            let _leaving = cut.send(());
        }
        let number = taken.next;
        taken.next += 1;
        let (sender, cut) = oneshot::channel();
        taken.strangers.insert(number, sender);
        let place = Place {
            places: Arc::clone(self),
            number,
            address,
            has_asked: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
        };
        Some((Peer(Arc::new(place)), cut))
    }

    fn leave(&self, number: u64, is_known: bool) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // A stranger that is no longer on the list has lost its place to another one.
        if is_known || taken.strangers.remove(&number).is_some() {
            taken.count -= 1;
        }
    }

    /// False when the place was lost before.
    fn keep(&self, number: u64) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.strangers.remove(&number).is_some()
    }
}

/// The other end of a connection; dropping the last copy gives its place back.
#[derive(Debug, Clone)]
pub(crate) struct Peer(Arc<Place>);

#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    number: u64,
    address: SocketAddr,
    has_asked: AtomicBool,
    is_known: AtomicBool,
}

impl Peer {
    /// Where it connects from.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Notes that the head of a request has come whole.
    pub(super) fn asks(&self) {
        self.0.has_asked.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_asked(&self) -> bool {
        self.0.has_asked.load(Ordering::Relaxed)
    }

    /// Notes that it has shown a right to be here, by a token or by a request that needs none: its place is its own
    /// from now on.
    pub(crate) fn is_known(&self) {
        if !self.0.is_known.load(Ordering::Relaxed) && self.0.places.keep(self.0.number) {
            self.0.is_known.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places
            .leave(self.number, self.is_known.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }

    #[test]
    fn the_oldest_stranger_makes_room_and_who_is_known_stays() {
        let places = Places::new(2);
        let (first, mut first_cut) = places.take(address()).unwrap();
        let (_second, mut second_cut) = places.take(address()).unwrap();
        first.is_known();
        let (third, mut third_cut) = places.take(address()).unwrap();
        assert_eq!(second_cut.try_recv(), Ok(()), "the oldest stranger goes");
        assert!(first_cut.try_recv().is_err() && third_cut.try_recv().is_err());
        third.is_known();
        assert!(places.take(address()).is_none(), "everybody is known");
        drop(first);
        assert!(places.take(address()).is_some(), "a place is free again");
    }

    #[test]
    fn a_place_is_given_back_once_whoever_lost_it() {
        let places = Places::new(1);
        let (first, _first_cut) = places.take(address()).unwrap();
        let (second, _second_cut) = places.take(address()).unwrap();
        first.is_known();
        drop(first);
        assert_eq!(
            places.taken.lock().unwrap().count,
            1,
            "it had no place left"
        );
        drop(second);
        assert_eq!(places.taken.lock().unwrap().count, 0);
    }
}
