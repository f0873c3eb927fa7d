//! Whether a component's functions have the types of the contract, asked before an event finds out.

use wasmtime::component::ComponentExportIndex;

use super::{Handled, Handler, Instance, PackedEvents, PackedResults, TickReason, Ticked};
use crate::sandbox::load_error::LoadError;
use crate::sandbox::nested;

impl Instance {
    /// Checks what the host calls for events and ticks.
    ///
    /// # Errors
    /// One of them is of another type; its name is told.
    pub(super) fn check_types(&mut self) -> Result<(), LoadError> {
        let (name, handler) = match self.plugin.handler {
            Handler::Batch(export) => ("handle-batch", self.check_batch(export)),
            Handler::Single(export) => ("handle", self.check_single(export)),
        };
        let tick = self.plugin.on_tick.map(|export| self.check_tick(export));
        let mismatch = |name: &str, error: &wasmtime::Error| LoadError::Mismatch {
            plugin: self.plugin.name.clone(),
            message: format!("{name}: {error:#}"),
        };
        handler.map_err(|error| mismatch(name, &error))?;
        tick.unwrap_or(Ok(()))
            .map_err(|error| mismatch("on-tick", &error))
    }

    fn check_batch(&mut self, export: ComponentExportIndex) -> wasmtime::Result<()> {
        let handler = self.exported(export)?;
        let typed = handler.typed::<(PackedEvents<'_>,), (PackedResults,)>(&self.store);
        typed.map(drop)
    }

    fn check_single(&mut self, export: ComponentExportIndex) -> wasmtime::Result<()> {
        let handler = self.exported(export)?;
        let typed = handler.typed::<(nested::EventIn<'_>,), Handled>(&self.store);
        typed.map(drop)
    }

    fn check_tick(&mut self, export: ComponentExportIndex) -> wasmtime::Result<()> {
        let tick = self.exported(export)?;
        let typed = tick.typed::<(&str, i32, i64, TickReason), Ticked>(&self.store);
        typed.map(drop)
    }

    fn exported(
        &mut self,
        export: ComponentExportIndex,
    ) -> wasmtime::Result<wasmtime::component::Func> {
        let func = self.instance.get_func(&mut self.store, export);
        func.ok_or_else(|| wasmtime::Error::msg("it is not a function"))
    }
}
