//! The simulated decoder: it turns every bit of a value, cannot read what its nature says, and now and then lacks
//! something that is there a little later.

use std::fmt;
use std::sync::{Arc, Mutex};

use fastrand::Rng;

use super::Surroundings;
use super::broker::Life;
use super::plan::{Event, Nature};
use super::witness::Place;
use crate::schema::{self, Decoded, Decoder, Flaw, View};

/// The header that says which event a record is.
pub(super) const AT: &[u8] = b"at";

/// A header that some records have, and that every view replaces.
pub(super) const REPLACED: &[u8] = b"h";

/// What it says in a view.
pub(super) const IN_A_VIEW: &[u8] = b"decoded";

/// One life's decoder, which all of its lanes share.
pub(super) struct SimulatedDecoder {
    life: Life,
    random: Mutex<Rng>,
    around: Arc<Surroundings>,
}

impl SimulatedDecoder {
    pub(super) fn new(life: Life, around: &Arc<Surroundings>, random: Rng) -> Self {
        Self {
            life,
            random: Mutex::new(random),
            around: Arc::clone(around),
        }
    }
}

impl fmt::Debug for SimulatedDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDecoder").finish_non_exhaustive()
    }
}

impl Decoder for SimulatedDecoder {
    fn decode(&self, event: &schema::Event<'_>) -> Decoded {
        let place = place(event.headers.last(AT).unwrap());
        let mut random = self.random.lock().unwrap();
        let chance = self.around.plan.chances.not_now;
        let mut witness = self.around.witness.lock().unwrap();
        if chance > 0 && !self.around.is_calm() && random.u32(0..1_000) < chance {
            let after_ms = random.u64(0..3_000);
            let life = self.life;
            witness.note(|| format!("{life:?} cannot decode {place:?} for {after_ms} ms"));
            return Decoded::NotNow { after_ms };
        }
        if witness.nature(place) == Nature::Undecodable {
            return Decoded::Invalid(Flaw::undecodable("nature", "it is its nature".to_owned()));
        }
        match event.value {
            None => Decoded::AsIs,
            Some(value) => Decoded::View(View {
                value: Some(decoded(value)),
                headers: vec![(REPLACED.to_vec(), Some(IN_A_VIEW.to_vec()))],
            }),
        }
    }
}

/// A value as the plugin is to be shown it.
pub(super) fn decoded(value: &[u8]) -> Vec<u8> {
    value.iter().map(|byte| !byte).collect()
}

/// How many headers of this name are among these, in the packed form.
pub(super) fn headers_named(mut packed: &[u8], wanted: &[u8]) -> usize {
    let mut found = 0;
    while let Some((lengths, rest)) = packed.split_at_checked(8) {
        let length = |at: usize| u32::from_le_bytes(lengths[at..at + 4].try_into().unwrap());
        let (name, rest) = rest.split_at(length(0) as usize);
        let value = Some(length(4)).filter(|length| *length != u32::MAX);
        packed = &rest[value.unwrap_or(0) as usize..];
        found += usize::from(name == wanted);
    }
    found
}

/// What the header says.
pub(super) fn at(event: &Event) -> [u8; 12] {
    let mut at = [0; 12];
    at[..4].copy_from_slice(&event.partition.to_be_bytes());
    at[4..].copy_from_slice(&event.offset.to_be_bytes());
    at
}

fn place(at: &[u8]) -> Place {
    let partition = i32::from_be_bytes(at[..4].try_into().unwrap());
    (partition, i64::from_be_bytes(at[4..].try_into().unwrap()))
}
