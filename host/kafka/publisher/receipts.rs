//! What became of many events, handed over in bulk: of the events of one stream or one batch.
//!
//! librdkafka tells what became of thousands of records in one go. A channel or a wake-up for each of them costs more than
//! sending it, so they gather here, and whoever waits is woken once. It must not know what the numbers stand for.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::kafka::outgoing::{Done, Outcome};

/// What became of the event that was handed over with this number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The number.
    pub number: u64,
    /// What else it was handed over with.
    pub label: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// Gathers the receipts of many events.
#[derive(Debug, Default)]
pub struct Receipts(Mutex<Gathered>);

#[derive(Debug, Default)]
struct Gathered {
    receipts: Vec<Receipt>,
    waiting: Option<Waker>,
}

impl Receipts {
    /// Adds what became of an event, and wakes who waits.
    pub fn add(&self, receipt: Receipt) {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.receipts.push(receipt);
        let waiting = gathered.waiting.take();
        drop(gathered);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Wakes who waits without anything new, to look at something else.
    pub fn wake(&self) {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = gathered.waiting.take();
        drop(gathered);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Swaps everything that has gathered into `taken`, which is empty; ready as soon as there is something.
    pub fn poll_take(&self, taken: &mut Vec<Receipt>, context: &mut Context<'_>) -> Poll<()> {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gathered.receipts.is_empty() {
            match &mut gathered.waiting {
                Some(waiting) => waiting.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        std::mem::swap(taken, &mut gathered.receipts);
        Poll::Ready(())
    }

    /// [`Self::poll_take`] for whoever can wait.
    pub async fn take(&self, taken: &mut Vec<Receipt>) {
        poll_fn(|context| self.poll_take(taken, context)).await;
    }
}

/// Where the answer to one event goes. It is answered exactly once.
pub enum Ticket {
    /// To a function.
    Call(Done),
    /// To where others gather, under a number.
    Entry {
        /// Where.
        receipts: Arc<Receipts>,
        /// Under which number.
        number: u64,
        /// And with what else.
        label: u32,
    },
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Call(_) => f.write_str("Call"),
            Self::Entry { number, .. } => write!(f, "Entry({number})"),
        }
    }
}

impl Ticket {
    /// Answers.
    pub fn answer(self, outcome: Outcome) {
        match self {
            Self::Call(done) => done(outcome),
            Self::Entry {
                receipts,
                number,
                label,
            } => receipts.add(Receipt {
                number,
                label,
                outcome,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::outgoing::{Delivered, PublishError};

    #[test]
    fn receipts_gather_until_they_are_taken_together() {
        let receipts = Arc::new(Receipts::default());
        let delivered = Ok(Delivered {
            partition: 1,
            offset: 2,
        });
        let entry = |number| Ticket::Entry {
            receipts: Arc::clone(&receipts),
            number,
            label: 0,
        };
        let waiting = {
            let receipts = Arc::clone(&receipts);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                let mut all = Vec::new();
                while all.len() < 2 {
                    let mut taken = Vec::new();
                    runtime.block_on(receipts.take(&mut taken));
                    all.append(&mut taken);
                }
                all
            })
        };
        entry(7).answer(delivered.clone());
        entry(8).answer(Err(PublishError::Overloaded));
        let all = waiting.join().unwrap();
        let numbers: Vec<_> = all.iter().map(|receipt| receipt.number).collect();
        assert_eq!(numbers, [7, 8]);
        assert_eq!(all[0].outcome, delivered);
    }
}
