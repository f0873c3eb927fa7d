//! What a lane calls: a version of its plugin, and a live instance of that. Apart from the sandbox's instances
//! there are the simulated ones of tests. It must not know events or what their answers mean.

use std::fmt::Debug;
use std::sync::Arc;

use crate::pipeline::messages::TickJob;
use crate::pipeline::versions::{Version, Versions};
use crate::sandbox::{
    BatchAnswer, Effects, Fault, FaultKind, Instance, LoadedPlugin, StateSource, TickAnswer,
};

/// What instances are made of.
pub(crate) trait Callee: Debug + Send + Sync {
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
}

/// The version that a lane calls, and its live instance where there is one.
#[derive(Debug)]
pub(crate) struct Called {
    versions: Arc<Versions>,
    /// The number of the change that was taken up last.
    generation: u64,
    version: Arc<Version>,
    pub(super) instance: Option<Box<dyn CalleeInstance>>,
}

/// What came of looking for another version.
#[derive(Debug)]
pub(super) enum TakenUp {
    /// The version is another one, and an instance of it is ready.
    Swapped,
    /// No instance of the other version could be made. The one before is called on.
    Refused(Arc<Version>, Fault),
}

impl Called {
    pub(crate) fn new(versions: Arc<Versions>) -> Self {
        let (generation, version) = versions.current();
        Self {
            versions,
            generation,
            version,
            instance: None,
        }
    }

    /// The versions of what is called.
    pub(super) fn versions(&self) -> &Arc<Versions> {
        &self.versions
    }

    /// The version that is called.
    pub(super) fn version(&self) -> &Arc<Version> {
        &self.version
    }

    /// Takes up the version that serves now, where it is another one. Called between two batches only, so
    /// that a batch ends with the version that it began with.
    pub(super) fn take_up(&mut self) -> Option<TakenUp> {
        if self.versions.generation() == self.generation {
            return None;
        }
        let (generation, version) = self.versions.current();
        self.generation = generation;
        if Arc::ptr_eq(&version, &self.version) {
            return None;
        }
        // The instance is made before the other one is given up, which is called on when this fails.
        match version.callee.instance() {
            Ok(instance) => {
                self.instance = Some(instance);
                self.version = version;
                Some(TakenUp::Swapped)
            }
            Err(fault) => {
                self.versions.withdraw(&version, &fault.message);
                Some(TakenUp::Refused(version, fault))
            }
        }
    }

    /// The live instance, made where there is none.
    pub(super) fn instance(&mut self) -> Result<&mut Box<dyn CalleeInstance>, Fault> {
        let instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.version.callee.instance()?,
        };
        Ok(self.instance.insert(instance))
    }
}

impl Callee for Arc<LoadedPlugin> {
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
}
