//! What is settled above a committed offset, as text for the commit's metadata.
//!
//! Whoever takes the partition up next recognises those events and does not run them again, with no store
//! of the last owner at hand. Metadata can come from any tool, so what does not check out claims nothing.
//! It must not know Kafka clients or when a commit is made.
//!
//! Before base64: two bytes of magic, one of version, one that says how the body is written, four of
//! checksum over the committed offset and everything else, and the body. Offsets in it count from the
//! committed one. The body is either pairs of numbers in LEB128, the gap before a range and the range's
//! length less one, or a bitmap, lowest bit first.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use xxhash_rust::xxh3::xxh3_64;

use super::offsets::{Offset, OffsetRange};

/// Bytes before base64 at most: 4 096 bytes of text, which is what a broker takes by default
/// (`offset.metadata.max.bytes`).
pub const RAW_BYTES_MAX: usize = 3_072;

const MAGIC: [u8; 2] = *b"mr";
const VERSION: u8 = 1;
const RUNS: u8 = 1;
const BITMAP: u8 = 2;
const HEAD_BYTES: usize = 8;
const BODY_BYTES_MAX: usize = RAW_BYTES_MAX - HEAD_BYTES;

/// The metadata of a commit at `committed`, above which these ranges are settled, lowest first; empty when
/// there is nothing to say. What does not fit is left out from the far end.
#[must_use]
pub fn encode(committed: Offset, ranges: &[OffsetRange]) -> String {
    let runs = runs(committed, ranges);
    let bitmap = bitmap(committed, ranges);
    // Where neither fits whole, the one that says more; where both say the same, the shorter.
    let runs_win = (runs.events, bitmap.bytes.len()) >= (bitmap.events, runs.bytes.len());
    let (kind, body) = if runs_win {
        (RUNS, runs)
    } else {
        (BITMAP, bitmap)
    };
    if body.events == 0 {
        return String::new();
    }
    let mut raw = Vec::with_capacity(HEAD_BYTES + body.bytes.len());
    raw.extend(MAGIC);
    raw.extend([VERSION, kind]);
    raw.extend(checksum(committed, kind, &body.bytes));
    raw.extend(body.bytes);
    STANDARD.encode(raw)
}

/// The ranges that the metadata of a commit at `committed` claims as settled, lowest first. Nothing when it
/// is foreign, damaged, of another version, or was written for another offset.
#[must_use]
pub fn decode(committed: Offset, metadata: &[u8]) -> Vec<OffsetRange> {
    read(committed, metadata).unwrap_or_default()
}

fn read(committed: Offset, metadata: &[u8]) -> Option<Vec<OffsetRange>> {
    // Longer text was not written here, and is not worth the work.
    if metadata.len() > RAW_BYTES_MAX.div_ceil(3) * 4 {
        return None;
    }
    let raw = STANDARD.decode(metadata).ok()?;
    let (head, body) = raw.split_at_checked(HEAD_BYTES)?;
    let kind = head[3];
    let known = head[..2] == MAGIC && head[2] == VERSION;
    if !known || head[4..] != checksum(committed, kind, body) {
        return None;
    }
    match kind {
        RUNS => read_runs(committed, body),
        BITMAP => read_bitmap(committed, body),
        _ => None,
    }
}

/// What a body would claim in each of the forms, were its checksum right: it guards against damage, not against
/// whoever can compute it.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_bodies(committed: Offset, body: &[u8]) -> Vec<Vec<OffsetRange>> {
    let body = &body[..body.len().min(BODY_BYTES_MAX)];
    let bodies = [read_runs(committed, body), read_bitmap(committed, body)];
    bodies.into_iter().flatten().collect()
}

/// Covers the committed offset too: metadata that a tool has carried over to another offset claims nothing.
fn checksum(committed: Offset, kind: u8, body: &[u8]) -> [u8; 4] {
    let mut bytes = committed.0.to_le_bytes().to_vec();
    bytes.extend([VERSION, kind]);
    bytes.extend(body);
    let [a, b, c, d, ..] = xxh3_64(&bytes).to_le_bytes();
    [a, b, c, d]
}

/// A body, and how many offsets it claims.
#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    events: u64,
}

fn runs(committed: Offset, ranges: &[OffsetRange]) -> Body {
    let mut body = Body::default();
    let mut end = committed.0;
    for range in ranges {
        let (Ok(gap), Ok(more)) = (
            u64::try_from(range.first.0 - end),
            u64::try_from(range.last.0 - range.first.0),
        ) else {
            break;
        };
        let before = body.bytes.len();
        push_number(&mut body.bytes, gap);
        push_number(&mut body.bytes, more);
        if body.bytes.len() > BODY_BYTES_MAX {
            body.bytes.truncate(before);
            break;
        }
        body.events += more + 1;
        end = range.last.0 + 1;
    }
    body
}

fn read_runs(committed: Offset, mut body: &[u8]) -> Option<Vec<OffsetRange>> {
    let mut ranges = Vec::new();
    let mut end = committed.0;
    while !body.is_empty() {
        let first = end.checked_add(take_number(&mut body)?)?;
        let last = first.checked_add(take_number(&mut body)?)?;
        end = last.checked_add(1)?;
        ranges.push(OffsetRange {
            first: Offset(first),
            last: Offset(last),
        });
    }
    Some(ranges)
}

fn bitmap(committed: Offset, ranges: &[OffsetRange]) -> Body {
    let bits_max = BODY_BYTES_MAX as i64 * 8;
    let mut body = Body::default();
    for range in ranges {
        let first = range.first.0 - committed.0;
        let end = (range.last.0 - committed.0 + 1).min(bits_max);
        if first < 0 || first >= end {
            break;
        }
        body.bytes.resize((end as usize).div_ceil(8), 0);
        for bit in first as usize..end as usize {
            body.bytes[bit / 8] |= 1 << (bit % 8);
        }
        body.events += (end - first) as u64;
    }
    body
}

fn read_bitmap(committed: Offset, body: &[u8]) -> Option<Vec<OffsetRange>> {
    let mut ranges: Vec<OffsetRange> = Vec::new();
    for bit in 0..body.len() * 8 {
        if body[bit / 8] & (1 << (bit % 8)) == 0 {
            continue;
        }
        // The offset after it must be one too.
        let offset = Offset(committed.0.checked_add(bit as i64 + 1)? - 1);
        match ranges
            .last_mut()
            .filter(|range| range.last.next() == offset)
        {
            Some(range) => range.last = offset,
            None => ranges.push(OffsetRange {
                first: offset,
                last: offset,
            }),
        }
    }
    Some(ranges)
}

/// Unsigned LEB128.
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0_i64;
    // Nine groups of seven bits are every offset there is.
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= i64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64) -> OffsetRange {
        OffsetRange {
            first: Offset(first),
            last: Offset(last),
        }
    }

    fn claims(ranges: &[OffsetRange], offset: i64) -> bool {
        ranges
            .iter()
            .any(|range| range.first.0 <= offset && offset <= range.last.0)
    }

    /// Ranges above `committed`, none of which touch.
    fn some_ranges(random: &mut fastrand::Rng, committed: i64) -> Vec<OffsetRange> {
        let (gap, length) = (random.i64(1..2_000), random.i64(1..2_000));
        let mut end = committed;
        (0..random.usize(1..5_000))
            .map(|_| {
                let first = end + 1 + random.i64(0..gap);
                let last = first + random.i64(0..length);
                end = last + 1;
                range(first, last)
            })
            .collect()
    }

    #[test]
    fn what_is_said_is_understood() {
        let ranges = [
            range(101, 200),
            range(202, 202),
            range(9_000_000, 9_000_100),
        ];
        let metadata = encode(Offset(100), &ranges);
        assert_eq!(decode(Offset(100), metadata.as_bytes()), ranges);
        assert!(metadata.len() < 40, "{metadata}");
        let first = [range(0, i64::MAX - 2)];
        assert_eq!(
            decode(Offset(0), encode(Offset(0), &first).as_bytes()),
            first
        );
    }

    #[test]
    fn a_bitmap_that_reaches_past_the_last_offset_claims_nothing() {
        assert_eq!(read_bitmap(Offset(i64::MAX - 1), &[0b10]), None);
        assert_eq!(read_bitmap(Offset(i64::MAX), &[0b11]), None);
        let last = i64::MAX - 1;
        assert_eq!(
            read_bitmap(Offset(last), &[0b1]),
            Some(vec![range(last, last)])
        );
    }

    #[test]
    fn nothing_settled_above_needs_no_words() {
        assert_eq!(encode(Offset(5), &[]), "");
        assert_eq!(decode(Offset(5), b""), []);
    }

    #[test]
    fn every_second_event_is_said_with_a_bitmap() {
        let ranges: Vec<_> = (0..10_000).map(|n| range(2 * n + 1, 2 * n + 1)).collect();
        let metadata = encode(Offset(0), &ranges);
        assert!(
            metadata.len() < 20_000 / 8 * 4 / 3 + 20,
            "{}",
            metadata.len()
        );
        assert_eq!(decode(Offset(0), metadata.as_bytes()), ranges);
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_far_end_and_nothing_false_is_claimed() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let committed = random.i64(0..1 << 40);
            let ranges = some_ranges(&mut random, committed);
            let metadata = encode(Offset(committed), &ranges);
            assert!(metadata.len() <= 4_096, "seed {seed}");
            let claimed = decode(Offset(committed), metadata.as_bytes());
            let last = claimed.last().expect("something fits").last.0;
            for (said, settled) in claimed.iter().zip(&ranges) {
                assert_eq!(said.first, settled.first, "seed {seed}");
                assert!(
                    said.last == settled.last || said.last.0 == last,
                    "seed {seed}"
                );
                assert!(said.last <= settled.last, "seed {seed}");
            }
            let left_out = claimed.len() < ranges.len();
            assert!(
                !left_out || metadata.len() > 4_000,
                "seed {seed}: it would have fitted"
            );
        }
    }

    #[test]
    fn metadata_of_another_commit_or_version_or_with_any_bit_flipped_claims_nothing() {
        let metadata = encode(Offset(100), &[range(105, 300), range(350, 360)]);
        assert_eq!(decode(Offset(99), metadata.as_bytes()), []);
        let raw = STANDARD.decode(&metadata).unwrap();
        for bit in 0..raw.len() * 8 {
            let mut damaged = raw.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let damaged = STANDARD.encode(damaged);
            assert_eq!(decode(Offset(100), damaged.as_bytes()), [], "bit {bit}");
        }
        for cut in 0..metadata.len() {
            assert_eq!(
                decode(Offset(100), &metadata.as_bytes()[..cut]),
                [],
                "cut {cut}"
            );
        }
    }

    /// With a sound head and checksum as well, so that the body is read too.
    #[test]
    fn random_bytes_claim_nothing_and_a_random_body_never_panics() {
        for seed in 0..20_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let bytes: Vec<u8> = (0..random.usize(0..64)).map(|_| random.u8(..)).collect();
            let committed = Offset(if seed % 2 == 0 { i64::MAX - 3 } else { 7 });
            assert_eq!(decode(committed, &bytes), []);
            assert_eq!(decode(committed, STANDARD.encode(&bytes).as_bytes()), []);
            let kind = random.u8(0..4);
            let mut raw = MAGIC.to_vec();
            raw.extend([VERSION, kind]);
            raw.extend(checksum(committed, kind, &bytes));
            raw.extend(&bytes);
            for claimed in decode(committed, STANDARD.encode(raw).as_bytes()) {
                assert!(committed <= claimed.first && claimed.first <= claimed.last);
            }
        }
    }

    #[test]
    fn a_claim_holds_exactly_for_what_was_settled() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..50 {
            let mut ranges = some_ranges(&mut random, 50);
            ranges.truncate(20);
            let claimed = decode(Offset(50), encode(Offset(50), &ranges).as_bytes());
            for offset in 50..2_000 {
                assert!(!claims(&claimed, offset) || claims(&ranges, offset));
            }
        }
    }
}
