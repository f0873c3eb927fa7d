//! Shows events to those who look at them live, with what became of them. Each of these is called only after a look
//! whether anybody does.

use std::ops::Range;
use std::sync::Arc;

use super::super::batch::{Batch, EventView};
use super::super::tap::{Beginning, Tapped};
use super::Lane;
use crate::sandbox::{Answer, Problem};

impl Lane {
    /// Whether anybody looks at the events of the group.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.settings.taps.is_watched()
    }

    /// The events of a part that were answered with `filtered`, by their place in it.
    pub(super) fn filtered(answers: &[(u32, Answer)]) -> Vec<u32> {
        let filtered = answers.iter();
        let filtered = filtered.filter(|(_, answer)| matches!(answer, Answer::Filtered));
        filtered.map(|(at, _)| *at).collect()
    }

    /// Shows the events of a part that went well: all but the failed ones.
    pub(super) fn show_well(
        &self,
        batch: &Batch,
        part: Range<usize>,
        (failed, filtered): (&[u32], &[u32]),
    ) {
        let start = part.start;
        for index in part {
            let local = (index - start) as u32;
            if failed.binary_search(&local).is_err() {
                let outcome = match filtered.binary_search(&local) {
                    Ok(_) => "filtered",
                    Err(_) => "processed",
                };
                self.show(batch.view(index), outcome, None);
            }
        }
    }

    /// Shows an event that failed, where anybody looks.
    pub(super) fn show_failed(
        &self,
        batch: &Batch,
        index: usize,
        outcome: &'static str,
        problem: &Problem,
    ) {
        if self.is_watched() {
            self.show(batch.view(index), outcome, Some(problem));
        }
    }

    /// Shows one event.
    pub(super) fn show(
        &self,
        event: EventView<'_>,
        outcome: &'static str,
        problem: Option<&Problem>,
    ) {
        let version = self.called.version();
        let topic = &self.settings.routing.now.topics[event.topic_index() as usize];
        self.settings.taps.offer(topic, &version.plugin, || Tapped {
            group: Arc::clone(&self.settings.group),
            topic: Arc::clone(topic),
            partition: event.partition(),
            offset: event.offset().0,
            timestamp_ms: event.timestamp_ms(),
            key: event.key().map(Beginning::of),
            value: event.value().map(Beginning::of),
            plugin: version.plugin.as_str().into(),
            version: version.name.clone(),
            attempt: event.attempt(),
            outcome,
            problem: problem.map(|problem| (problem.code.clone(), problem.message.clone())),
            at_ms: self.clock.wall_ms(),
        });
    }
}
