//! What a lane calls: a version of its plugin, and a live instance of that. Apart from the sandbox's instances
//! there are the simulated ones of tests. It must not know events or what their answers mean.

use std::fmt::Debug;
use std::sync::Arc;

use crate::pipeline::messages::TickJob;
use crate::pipeline::versions::{Version, Versions};
use crate::sandbox::{
    BatchAnswer, Effects, Fault, FaultKind, Instance, LoadError, LoadedPlugin, StateSource,
    TickAnswer, Transcript, WebCounts, Worn,
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

    /// Why it should make room for a new instance before the next call, where it should.
    fn worn(&self) -> Option<Worn>;

    /// Log lines of the plugin that were dropped and that nobody has counted yet.
    fn take_dropped_lines(&mut self) -> u64;

    /// HTTP requests since this was last asked, however their calls ended.
    fn web_requests(&mut self) -> WebCounts;

    /// What the host answered in the last call; none where that is not recorded.
    fn transcript(&mut self) -> Option<Transcript> {
        None
    }
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

    /// Whether another change came since the last one was taken up. One atomic load, for every batch.
    pub(super) fn is_behind(&self) -> bool {
        self.versions.generation() != self.generation
    }

    /// Takes up the version that serves now; none where that is called already. Called between two batches
    /// only, so that a batch ends with the version that it began with.
    pub(super) fn take_up(&mut self) -> Option<TakenUp> {
        let (generation, version) = self.versions.current();
        if Arc::ptr_eq(&version, &self.version) {
            self.generation = generation;
            return None;
        }
        // The instance is made before the other one is given up, which is called on when this fails. The
        // change then counts as not taken up, so that the next batch looks again.
        match version.callee.instance() {
            Ok(instance) => {
                self.instance = Some(instance);
                self.version = version;
                self.generation = generation;
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
        let made = match self.transcripts {
            true => Instance::recording(self),
            false => Instance::new(self),
        };
        match made {
            Ok(instance) => Ok(Box::new(instance)),
            Err(error) => Err(not_made(&error)),
        }
    }
}

/// The fault of a call for which no instance could be made.
pub(crate) fn not_made(error: &LoadError) -> Fault {
    Fault {
        kind: FaultKind::Host,
        code: "instance".to_owned(),
        limit: error.limit(),
        message: error.to_string(),
        frames: Vec::new(),
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

    fn worn(&self) -> Option<Worn> {
        Instance::worn(self)
    }

    fn take_dropped_lines(&mut self) -> u64 {
        Instance::take_dropped_lines(self)
    }

    fn web_requests(&mut self) -> WebCounts {
        Instance::web_requests(self)
    }

    fn transcript(&mut self) -> Option<Transcript> {
        Instance::transcript(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an instance as often as it may; none of them is called.
    #[derive(Debug)]
    struct Makes(bool);

    #[derive(Debug)]
    struct Idle(Effects);

    impl Callee for Makes {
        fn instance(&self) -> Result<Box<dyn CalleeInstance>, Fault> {
            if self.0 {
                return Ok(Box::new(Idle(Effects::default())));
            }
            Err(Fault {
                kind: FaultKind::Host,
                code: "instance".to_owned(),
                message: "its init refused to start".to_owned(),
                frames: Vec::new(),
                limit: None,
            })
        }
    }

    impl CalleeInstance for Idle {
        fn call(
            &mut self,
            _bytes: &[u8],
            _slots: &[u64],
            _topics: &[Arc<str>],
            _state: Option<Box<dyn StateSource>>,
        ) -> Result<BatchAnswer, Fault> {
            Ok(BatchAnswer::default())
        }

        fn tick(&mut self, _job: TickJob) -> Result<TickAnswer, Fault> {
            Ok(TickAnswer::default())
        }

        fn effects(&mut self) -> &mut Effects {
            &mut self.0
        }

        fn worn(&self) -> Option<Worn> {
            None
        }

        fn take_dropped_lines(&mut self) -> u64 {
            0
        }

        fn web_requests(&mut self) -> WebCounts {
            WebCounts::default()
        }
    }

    fn simulated(makes: bool) -> Version {
        Version::simulated("orders", false, Box::new(Makes(makes)))
    }

    fn version(makes: bool) -> Arc<Version> {
        Arc::new(simulated(makes))
    }

    /// The versions of a plugin whose first one works, and two lanes that call it.
    fn lanes() -> (Arc<Versions>, Called, Called) {
        let versions = Arc::new(Versions::new(simulated(true)));
        let mut lanes = [(), ()].map(|()| Called::new(Arc::clone(&versions)));
        for lane in &mut lanes {
            assert!(!lane.is_behind() && lane.instance().is_ok());
        }
        let [first, second] = lanes;
        (versions, first, second)
    }

    #[test]
    fn another_version_is_taken_up_once_with_an_instance_of_its_own() {
        let (versions, mut lane, _) = lanes();
        let before = Arc::clone(lane.version());
        versions.publish(version(true));
        assert!(lane.is_behind());
        assert!(Arc::ptr_eq(lane.version(), &before), "until it is taken up");
        assert!(matches!(lane.take_up(), Some(TakenUp::Swapped)));
        assert!(Arc::ptr_eq(lane.version(), &versions.published().current));
        assert!(lane.instance.is_some() && !lane.is_behind());
        // There and back between two batches is no change.
        versions.step_back();
        versions.step_back();
        assert!(lane.is_behind() && lane.take_up().is_none() && !lane.is_behind());
    }

    #[test]
    fn a_version_that_a_lane_cannot_call_is_taken_back_from_all_and_the_one_before_serves_on() {
        let (versions, mut lane, mut other) = lanes();
        let before = Arc::clone(lane.version());
        versions.publish(version(false));
        assert!(matches!(lane.take_up(), Some(TakenUp::Refused(..))));
        assert!(Arc::ptr_eq(lane.version(), &before) && lane.instance.is_some());
        let published = versions.published();
        assert!(Arc::ptr_eq(&published.current, &before));
        assert!(published.previous.is_none(), "nobody steps back to it");
        let reason = published.refused.expect("it was refused").reason;
        assert_eq!(reason, "its init refused to start");
        // The others hear of a change, and find that it is none for them.
        assert!(other.is_behind() && other.take_up().is_none() && !other.is_behind());
        assert!(lane.is_behind() && lane.take_up().is_none() && !lane.is_behind());
    }

    #[test]
    fn a_version_that_has_no_other_to_fall_back_to_is_looked_for_again() {
        let (versions, mut lane, _) = lanes();
        versions.publish(version(false));
        versions.publish(version(false));
        assert!(matches!(lane.take_up(), Some(TakenUp::Refused(..))));
        assert!(
            matches!(lane.take_up(), Some(TakenUp::Refused(..))),
            "the one before is no better"
        );
        assert!(
            lane.is_behind() && lane.instance.is_some(),
            "the first is called on"
        );
        versions.publish(version(true));
        assert!(matches!(lane.take_up(), Some(TakenUp::Swapped)));
    }
}
