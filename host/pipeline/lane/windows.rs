//! The windows of ids that a lane remembers, one for each assignment. It must not know what an id says of its event.

use std::sync::Arc;

use super::super::assignment::Assignment;
use super::super::batch::Batch;
use super::Lane;
use crate::config;
use crate::delivery::dedup::Window;

impl Lane {
    /// Finds the window of each assignment, and touches what the lookups will read. They miss the cache, and
    /// a loop with nothing else in it lets the processor overlap them.
    pub(super) fn approach_windows(&mut self, batch: &Batch) {
        let Self {
            windows, window_of, ..
        } = self;
        window_of.clear();
        let Some(dedup) = &self.settings.dedup else {
            return;
        };
        for assignment in &batch.assignments {
            window_of.push(window_at(windows, assignment, dedup));
        }
        let mut touched = 0;
        for meta in &batch.events {
            if let Some(id) = meta.id {
                touched ^= windows[window_of[meta.assignment as usize]].1.touch(id);
            }
        }
        std::hint::black_box(touched);
    }
}

/// The place of an assignment's window, made where there is none.
pub(super) fn window_at(
    windows: &mut Vec<(Arc<Assignment>, Window)>,
    assignment: &Arc<Assignment>,
    dedup: &config::Dedup,
) -> usize {
    let known = windows
        .iter()
        .position(|(known, _)| Arc::ptr_eq(known, assignment));
    known.unwrap_or_else(|| {
        let window = Window::new(dedup.window.as_millis() as i64, dedup.max_events);
        windows.push((Arc::clone(assignment), window));
        windows.len() - 1
    })
}
