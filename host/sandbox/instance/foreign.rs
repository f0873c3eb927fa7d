//! Calls of components that were written for other hosts, and what their answers mean here.
//!
//! Their errors say little of whether trying again helps. What a component cannot be permitted will not be permitted
//! later; everything else may pass, and the operator's `retry.attempts` bounds it.

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower, Resource};

use super::Instance;
use crate::sandbox::fault::Fault;
use crate::sandbox::interfaces::messaging::{Arrived, BrokerMessage, Message, WasiError};
use crate::sandbox::nested::cut;
use crate::sandbox::packed::{Answer, Output, Problem};

/// What `wasi:messaging`'s `handle` takes and returns.
pub(super) type WasiIn = (Resource<Message>,);
pub(super) type WasiOut = (Result<(), WasiError>,);

/// What wasmCloud's `handle-message` takes and returns.
pub(super) type WasmcloudIn = (BrokerMessage,);
pub(super) type WasmcloudOut = (Result<(), String>,);

impl Instance {
    /// Runs one event, and takes what it sent where it went well.
    pub(super) fn sending(
        &mut self,
        event: &Arrived<'_>,
        index: u32,
        outputs: &mut Vec<Output>,
        call: impl FnOnce(&mut Self) -> Result<Answer, Fault>,
    ) -> Result<Answer, Fault> {
        self.store.data_mut().messaging.begin_event(event.key);
        let answer = call(self)?;
        let sent = self.store.data_mut().messaging.end_event();
        if answer == Answer::Processed {
            outputs.extend(sent.into_iter().map(|output| Output {
                event_index: index,
                ..output
            }));
        }
        Ok(answer)
    }

    pub(super) fn call_wasi(
        &mut self,
        export: ComponentExportIndex,
        event: &Arrived<'_>,
    ) -> Result<Answer, Fault> {
        let message = self.store.data_mut().hand_over(Message::of(event));
        let message = message.map_err(|error| self.fault(&error))?;
        let (answer,): WasiOut = self.call_export::<WasiIn, WasiOut>(export, (message,))?;
        let retry = |code, message| Answer::Retry(problem(code, message));
        Ok(match answer {
            Ok(()) => Answer::Processed,
            Err(WasiError::Timeout) => retry("timeout", String::new()),
            Err(WasiError::Connection(message)) => retry("connection", message),
            Err(WasiError::PermissionDenied(message)) => {
                Answer::Reject(problem("permission-denied", message))
            }
            Err(WasiError::Other(message)) => retry("other", message),
        })
    }

    pub(super) fn call_wasmcloud(
        &mut self,
        export: ComponentExportIndex,
        event: &Arrived<'_>,
    ) -> Result<Answer, Fault> {
        let message = BrokerMessage::of(event);
        let (answer,) = self.call_export::<WasmcloudIn, WasmcloudOut>(export, (message,))?;
        Ok(match answer {
            Ok(()) => Answer::Processed,
            Err(message) => Answer::Retry(problem("error", message)),
        })
    }

    fn call_export<In, Out>(
        &mut self,
        export: ComponentExportIndex,
        arguments: In,
    ) -> Result<Out, Fault>
    where
        In: ComponentNamedList + Lower,
        Out: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let answer = self
            .instance
            .get_func(&mut self.store, export)
            .ok_or_else(|| wasmtime::Error::msg("the handler is not a function"))
            .and_then(|f| f.typed::<In, Out>(&self.store))
            .and_then(|f| f.call(&mut self.store, arguments));
        answer.map_err(|error| self.fault(&error))
    }
}

fn problem(code: &str, message: String) -> Problem {
    Problem {
        code: code.to_owned(),
        message: cut(message),
        ..Problem::default()
    }
}
