//! What the witness knows of pauses, from the operators themselves.

use super::super::operator::Paused;
use super::{Place, Witness};
use crate::pipeline::simulation::broker::Life;

impl Witness {
    pub(in crate::pipeline::simulation) fn pauses(
        &mut self,
        life: Life,
        paused: Paused,
        taken: bool,
    ) {
        self.note(|| format!("{life:?} pauses {paused:?}"));
        if !taken {
            self.wrong(|| format!("{life:?} has no room to pause {paused:?}"));
        }
        self.paused.push((life, paused));
    }

    pub(in crate::pipeline::simulation) fn resumes(
        &mut self,
        life: Life,
        paused: Paused,
        was: bool,
    ) {
        self.note(|| format!("{life:?} resumes {paused:?}"));
        if !was {
            self.wrong(|| format!("{life:?} does not know any more that {paused:?} is paused"));
        }
        self.paused.retain(|of| *of != (life, paused));
    }

    /// Whether this event has to wait in this life.
    pub(super) fn is_paused(&self, life: Life, place: Place, at: usize) -> bool {
        let key = self.facts[place.0 as usize][at].key;
        let mut paused = self.paused.iter();
        paused.any(|(of, paused)| *of == life && paused.holds(place.0, key))
    }
}
