//! What a lane calls: instances of a plugin. Apart from the sandbox's there are the simulated ones of tests.

use std::fmt::Debug;
use std::sync::Arc;

use crate::pipeline::messages::TickJob;
use crate::sandbox::{
    BatchAnswer, Effects, Fault, FaultKind, Instance, LoadedPlugin, StateSource, TickAnswer,
    WebCounts,
};

/// A plugin of which instances are made.
pub(crate) trait Callee: Debug + Send {
    fn name(&self) -> &str;
    fn digest(&self) -> &str;
    /// Whether it may wait for answers from outside while it handles an event.
    fn asks_others(&self) -> bool;
    /// Makes an instance. A fault of kind host means that none could be made.
    fn instance(&self) -> Result<Box<dyn CalleeInstance>, Fault>;
}

/// A live instance. After a fault it is dropped.
pub(crate) trait CalleeInstance: Debug + Send {
    /// Runs events in the packed form.
    fn call(
        &mut self,
        bytes: &[u8],
        slots: &[u64],
        topics: &[Arc<str>],
        state: Option<Box<dyn StateSource>>,
    ) -> Result<BatchAnswer, Fault>;

    /// Runs `on-tick`.
    fn tick(&mut self, job: TickJob) -> Result<TickAnswer, Fault>;

    /// Effects of the last call.
    fn effects(&mut self) -> &mut Effects;

    /// HTTP requests since this was last asked, however their calls ended.
    fn web_requests(&mut self) -> WebCounts;
}

impl Callee for Arc<LoadedPlugin> {
    fn name(&self) -> &str {
        &self.name
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn asks_others(&self) -> bool {
        LoadedPlugin::asks_others(self)
    }

    fn instance(&self) -> Result<Box<dyn CalleeInstance>, Fault> {
        match Instance::new(self) {
            Ok(instance) => Ok(Box::new(instance)),
            Err(error) => Err(Fault {
                kind: FaultKind::Host,
                code: "instance".to_owned(),
                message: error.to_string(),
                frames: Vec::new(),
            }),
        }
    }
}

impl CalleeInstance for Instance {
    fn call(
        &mut self,
        bytes: &[u8],
        slots: &[u64],
        topics: &[Arc<str>],
        state: Option<Box<dyn StateSource>>,
    ) -> Result<BatchAnswer, Fault> {
        self.set_state_source(state);
        Instance::call(self, bytes, slots, topics)
    }

    fn tick(&mut self, job: TickJob) -> Result<TickAnswer, Fault> {
        self.set_state_source(None);
        let of = &job.assignment;
        Instance::tick(
            self,
            &job.topic,
            of.partition,
            job.now_ms,
            job.reason,
            job.sums,
        )
    }

    fn effects(&mut self) -> &mut Effects {
        Instance::effects(self)
    }

    fn web_requests(&mut self) -> WebCounts {
        Instance::web_requests(self)
    }
}
