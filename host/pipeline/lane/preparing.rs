//! What comes between admitting events and calling the plugin, on routes that ask for it: each event is decoded into
//! the view that the plugin is shown. What can never be decoded goes to the dead letters; what cannot be decoded yet
//! waits, with what comes after it of its key. It must not know what a view is made of.

use super::super::batch::{Batch, EventMeta, EventView, OwnedEvent};
use super::super::messages::Settlement;
use super::Lane;
use super::judge::{OVERLOADED_AFTER_MS_MAX, OVERLOADED_AFTER_MS_MIN};
use crate::delivery::lanes::OrderGroup;
use crate::delivery::ledger::Settled;
use crate::delivery::park::Allowance;
use crate::sandbox::Problem;
use crate::schema::{Event, Headers, Preparation, Prepared, View};

/// Bytes of views that are shown in one call, about; the rest of the batch runs after it. A batch is small when it is
/// read, and a few bytes can say a great deal.
const VIEWS_BYTES_MAX: usize = 4 << 20;

/// The events of a batch that do not run with it.
#[derive(Debug, Default)]
struct Apart {
    /// Events that are not ready, and those of their keys that come after them, with the wait in milliseconds.
    wait: Vec<(OwnedEvent, u64)>,
    /// What is prepared after the others have run: because these show as much as one call may, or because it is not
    /// known before whether an earlier event of its key fails.
    rest: Option<Batch>,
    /// Keys of which everything that follows belongs to the rest.
    later: Vec<OrderGroup>,
}

impl Headers for EventView<'_> {
    fn last(&self, name: &[u8]) -> Option<&[u8]> {
        self.header(name)
    }
}

impl Lane {
    /// Prepares the admitted events, runs those that are ready, and judges them.
    pub(super) fn handle(&mut self, batch: &mut Batch, settlement: &mut Settlement) {
        if self.waits_for_schemas(batch, settlement) {
            return;
        }
        if self.settings.preparations.is_empty() {
            self.handle_ready(batch, settlement);
            return;
        }
        let preparations = self.settings.preparations.iter_mut();
        preparations.flatten().for_each(Preparation::take_up);
        let mut rest = self.handle_part(batch, settlement);
        while let Some(mut batch) = rest {
            batch.retain(|batch, index| !self.set_aside(batch, index, settlement));
            rest = self.handle_part(&mut batch, settlement);
        }
    }

    /// Handles as much of a batch as one call may show. Returns what is left of it.
    fn handle_part(&mut self, batch: &mut Batch, settlement: &mut Settlement) -> Option<Batch> {
        let Apart { wait, rest, .. } = self.prepare(batch, settlement);
        if !batch.is_empty() {
            self.handle_ready(batch, settlement);
        }
        // After the others: where one of them has failed, these queue behind it.
        for (event, after_ms) in wait {
            let group = event.meta.group;
            let key = (event.assignment.id, event.meta.seq);
            if let Some(failed) = self.failed_before.get_mut(&key) {
                // It has failed before, and this wait is none of its own.
                failed.holds_since = failed.holds_since.after(after_ms);
                failed.not_ready = true;
            }
            if !self.park.holds(group) {
                let due = self.clock.now().after(after_ms + 1);
                self.park.park(group, due, Allowance::ONE);
            }
            self.put_owned_back(event, settlement);
        }
        rest
    }

    /// Leaves in the batch what may run now, shown as it is to be shown.
    fn prepare(&mut self, batch: &mut Batch, settlement: &mut Settlement) -> Apart {
        let mut apart = Apart::default();
        let mut views: Vec<Option<View>> = Vec::with_capacity(batch.len());
        let (mut views_bytes, mut shows) = (0, false);
        batch.retain(|batch, index| {
            let group = batch.events[index].group;
            if views_bytes >= VIEWS_BYTES_MAX || apart.later.contains(&group) {
                self.run_later(batch, index, &mut apart);
                return false;
            }
            if let Some((_, after_ms)) = apart.wait.iter().find(|(of, _)| of.meta.group == group) {
                let after_ms = *after_ms;
                let event = batch.take_out(index, batch.view(index).attempt());
                apart.wait.push((event, after_ms));
                return false;
            }
            match self.prepare_one(batch, index) {
                Prepared::Ready(view) => {
                    views_bytes += view.as_ref().map_or(0, View::bytes);
                    shows |= view.is_some();
                    views.push(view);
                    return true;
                }
                // What runs and is of its key comes first, and may fail. As many events stand at the front of the
                // batch as run.
                Prepared::Flawed(_) if has_group(&batch.events[..views.len()], group) => {
                    apart.later.push(group);
                    self.run_later(batch, index, &mut apart);
                }
                Prepared::Flawed(flaw) => {
                    if let Some(preparation) = self.preparation(batch, index) {
                        preparation.count(&flaw);
                    }
                    let problem = Problem {
                        code: flaw.code.to_owned(),
                        message: flaw.message,
                        ..Problem::default()
                    };
                    self.give_up(batch, index, flaw.cause, &problem, settlement);
                }
                Prepared::NotNow { after_ms } => {
                    self.metrics.not_now();
                    let after_ms = after_ms.clamp(OVERLOADED_AFTER_MS_MIN, OVERLOADED_AFTER_MS_MAX);
                    let event = batch.take_out(index, batch.view(index).attempt());
                    apart.wait.push((event, after_ms));
                }
            }
            false
        });
        if shows {
            batch.show(&views);
        }
        apart
    }

    fn run_later(&self, batch: &Batch, index: usize, apart: &mut Apart) {
        let rest = apart.rest.get_or_insert_with(|| self.empty_like(batch));
        rest.push_from(batch, index);
    }

    fn prepare_one(&self, batch: &Batch, index: usize) -> Prepared {
        let Some(preparation) = self.preparation(batch, index) else {
            return Prepared::Ready(None);
        };
        let event = batch.view(index);
        preparation.prepare(&Event {
            topic: &self.settings.routing.now.topics[event.topic_index() as usize],
            key: event.key(),
            value: event.value(),
            headers: &event,
        })
    }

    fn preparation(&self, batch: &Batch, index: usize) -> Option<&Preparation> {
        let source = batch.view(index).topic_index() as usize;
        self.settings.preparations.get(source)?.as_ref()
    }

    /// An empty batch of the same assignments, in the same places: what settles is told by them.
    pub(super) fn empty_like(&self, batch: &Batch) -> Batch {
        let mut empty = Batch::new(&self.settings.routing.now.table);
        empty.assignments.clone_from(&batch.assignments);
        empty
    }

    /// Sets aside an event whose batch has begun and which cannot run any more: its partition was taken away, or an
    /// earlier event of its key has failed meanwhile. Says whether it was.
    pub(super) fn set_aside(
        &mut self,
        batch: &Batch,
        index: usize,
        settlement: &mut Settlement,
    ) -> bool {
        let meta = batch.events[index];
        if batch.assignment_of(meta).is_revoked() {
            // Whoever has the partition next waits.
            settlement.settle(meta.assignment, Settled::Abandoned, meta.seq, meta.offset);
            return true;
        }
        if self.park.holds(meta.group) || self.events_wait() {
            self.park_part(batch, index..index + 1, settlement);
            return true;
        }
        false
    }
}

fn has_group(events: &[EventMeta], group: OrderGroup) -> bool {
    events.iter().any(|meta| meta.group == group)
}
