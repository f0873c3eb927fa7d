//! The mark that stands in the metadata of a commit that an operator set. Whoever takes the partition up next tells by
//! it that what a store remembers above the commit is of before, and must not make replayed events look settled.
//!
//! Text, so that a person who looks at a commit with Kafka's own tools reads what it is. Metadata can come from any tool,
//! so what does not check out marks nothing. It must not know Kafka clients or stores.

use super::offsets::Offset;

/// The mark of one setting of offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetMark {
    /// Tells this setting from every other; not zero.
    pub id: u64,
    /// Whether state, sums and emissions that have not left are forgotten too.
    pub forget_state: bool,
}

const PREFIX: &str = "millrace-set:1";
const KEEP: &str = "keep-state";
const FORGET: &str = "forget-state";

impl OffsetMark {
    /// The metadata of a commit at this offset.
    #[must_use]
    pub fn encode(&self, committed: Offset) -> String {
        let state = if self.forget_state { FORGET } else { KEEP };
        format!("{PREFIX}:{}:{:016x}:{state}", committed.0, self.id)
    }

    /// The mark in the metadata of a commit at `committed`; none when it is another's, or was written for another offset.
    #[must_use]
    pub fn decode(committed: Offset, metadata: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(metadata).ok()?;
        let rest = text.strip_prefix(PREFIX)?.strip_prefix(':')?;
        let (offset, rest) = rest.split_once(':')?;
        let (id, state) = rest.split_once(':')?;
        let forget_state = match state {
            KEEP => false,
            FORGET => true,
            _ => return None,
        };
        let id = u64::from_str_radix(id, 16).ok()?;
        let own = offset.parse() == Ok(committed.0);
        own.then_some(Self { id, forget_state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::commit_map;

    #[test]
    fn a_mark_is_read_back_at_its_own_offset_only() {
        for forget_state in [false, true] {
            let mark = OffsetMark {
                id: 0xfeed,
                forget_state,
            };
            let text = mark.encode(Offset(7));
            assert_eq!(
                OffsetMark::decode(Offset(7), text.as_bytes()),
                Some(mark),
                "{text}"
            );
            assert_eq!(OffsetMark::decode(Offset(8), text.as_bytes()), None);
            assert!(commit_map::decode(Offset(7), text.as_bytes()).is_empty());
        }
    }

    #[test]
    fn what_others_write_marks_nothing() {
        let texts: [&[u8]; 6] = [
            b"",
            b"\xff",
            b"millrace-set:1",
            b"millrace-set:1:7:xyz:keep-state",
            b"millrace-set:1:7:1:perhaps",
            b"millrace-set:2:7:1:keep-state",
        ];
        for text in texts {
            assert_eq!(OffsetMark::decode(Offset(7), text), None);
        }
    }
}
