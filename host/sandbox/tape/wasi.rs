//! What a guest asks of WASI by way of a tape: clocks and random numbers. It must not know what a tape holds.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::TryRng;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

use super::Tape;
use crate::sandbox::host_state::WallClock;

/// Lets the clocks and random numbers of WASI go by way of a tape.
pub(in crate::sandbox) fn answer_from(
    tape: &Tape,
    clock: Option<Arc<dyn WallClock>>,
    wasi: &mut WasiCtxBuilder,
) {
    wasi.wall_clock(TapedWallClock {
        tape: tape.clone(),
        clock,
    })
    .monotonic_clock(TapedMonotonicClock {
        tape: tape.clone(),
        since: Instant::now(),
    })
    .secure_random(TapedRandom(tape.clone()))
    .insecure_random(TapedRandom(tape.clone()))
    .insecure_random_seed(tape.seed());
}

/// The time of day by way of a tape.
pub(super) struct TapedWallClock {
    pub(super) tape: Tape,
    /// The machine's where there is none.
    pub(super) clock: Option<Arc<dyn WallClock>>,
}

impl HostWallClock for TapedWallClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        let live = || match &self.clock {
            Some(clock) => clock.now_ms().saturating_mul(1_000_000),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos() as u64),
        };
        Duration::from_nanos(self.tape.wall_ns(live))
    }
}

/// The clock that only measures, by way of a tape.
struct TapedMonotonicClock {
    tape: Tape,
    since: Instant,
}

impl HostMonotonicClock for TapedMonotonicClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.tape
            .monotonic_ns(|| self.since.elapsed().as_nanos() as u64)
    }
}

/// Random numbers by way of a tape.
pub(super) struct TapedRandom(pub(super) Tape);

impl TryRng for TapedRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}
