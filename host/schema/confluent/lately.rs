//! What each thread has looked up lately. A lane reads records of a handful of schemas again and again, and a schema
//! never changes under its number, so that nothing is locked for them.

use std::cell::RefCell;
use std::sync::Arc;

use super::codec::Codec;

/// Schemas that a thread remembers. Topics have a few versions in use at once; past this it costs a lock an event.
const SCHEMAS_MAX: usize = 16;

struct Entry {
    /// Which registry it is of. Another may use the same number for another schema.
    registry: u64,
    id: u32,
    codec: Arc<Codec>,
}

thread_local! {
    static LATELY: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// The schema of this number, from this thread's memory or from `look_up`.
pub(super) fn codec<E>(
    registry: u64,
    id: u32,
    look_up: impl FnOnce() -> Result<Arc<Codec>, E>,
) -> Result<Arc<Codec>, E> {
    LATELY.with_borrow_mut(|lately| {
        let known = lately.iter();
        let mut known = known.map(|entry| entry.registry == registry && entry.id == id);
        if let Some(at) = known.position(|known| known) {
            // The frequent ones come to stand in front.
            if at > 0 {
                lately.swap(at, at - 1);
            }
            return Ok(Arc::clone(&lately[at.saturating_sub(1)].codec));
        }
        let codec = look_up()?;
        lately.truncate(SCHEMAS_MAX - 1);
        lately.push(Entry {
            registry,
            id,
            codec: Arc::clone(&codec),
        });
        Ok(codec)
    })
}
