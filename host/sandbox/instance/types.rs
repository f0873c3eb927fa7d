//! Whether a component's functions have the types of the contract, asked before an event finds out.

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower};

use super::foreign::{WasiIn, WasiOut, WasmcloudIn, WasmcloudOut};
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
            Handler::Batch(export) => {
                let checked = self.check_typed::<(PackedEvents<'_>,), (PackedResults,)>(export);
                ("handle-batch", checked)
            }
            Handler::Single(export) => {
                let checked = self.check_typed::<(nested::EventIn<'_>,), Handled>(export);
                ("handle", checked)
            }
            Handler::WasiMessaging(export) => {
                ("handle", self.check_typed::<WasiIn, WasiOut>(export))
            }
            Handler::WasmcloudMessaging(export) => {
                let checked = self.check_typed::<WasmcloudIn, WasmcloudOut>(export);
                ("handle-message", checked)
            }
        };
        let tick = self
            .plugin
            .on_tick
            .map(|export| self.check_typed::<(&str, i32, i64, TickReason), Ticked>(export));
        let mismatch = |name: &str, error: &wasmtime::Error| LoadError::Mismatch {
            plugin: self.plugin.name.clone(),
            contract: self.plugin.handler.contract(),
            message: format!("{name}: {error:#}"),
        };
        handler.map_err(|error| mismatch(name, &error))?;
        tick.unwrap_or(Ok(()))
            .map_err(|error| mismatch("on-tick", &error))
    }

    fn check_typed<In, Out>(&mut self, export: ComponentExportIndex) -> wasmtime::Result<()>
    where
        In: ComponentNamedList + Lower,
        Out: ComponentNamedList + Lift,
    {
        self.exported(export)?
            .typed::<In, Out>(&self.store)
            .map(drop)
    }

    fn exported(
        &mut self,
        export: ComponentExportIndex,
    ) -> wasmtime::Result<wasmtime::component::Func> {
        let func = self.instance.get_func(&mut self.store, export);
        func.ok_or_else(|| wasmtime::Error::msg("it is not a function"))
    }
}
