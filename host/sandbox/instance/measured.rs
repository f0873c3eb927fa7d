//! What the last call of an instance took, for whoever shows it.

use super::Instance;
use crate::sandbox::load::{Handler, LoadedPlugin};

impl Instance {
    /// Linear memory of the instance, in bytes. It never shrinks.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.store.data().limits.memory_bytes()
    }

    /// Fuel that the last call took; none where the plugin's limits do not meter it. A component of the world
    /// `handler` is called once an event, and this is of the last one. It says too little of a call that its deadline
    /// ended: machine code writes the count down only where it calls or returns.
    #[must_use]
    pub fn fuel_used(&self) -> Option<u64> {
        let of_event = self.plugin.limits.fuel?;
        let given = of_event.saturating_mul(u64::from(self.store.data().events));
        Some(given.saturating_sub(self.store.get_fuel().ok()?))
    }
}

impl LoadedPlugin {
    /// Whether a call hands over a whole batch; otherwise each event is a call of its own, and an empty batch none.
    #[must_use]
    pub fn takes_batches(&self) -> bool {
        matches!(self.handler, Handler::Batch(_))
    }
}
