//! A place in a trace, as W3C's `traceparent` says it: read and written. It must not know who records spans.

use std::fmt;

/// A `traceparent` of the version that is written here, in bytes.
pub const TRACEPARENT_BYTES: usize = 55;

/// Whether the trace is recorded, among the flags.
const SAMPLED: u8 = 1;

/// A place in a trace: the span in which something was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; not 0.
    pub trace: u128,
    /// The span; not 0.
    pub span: u64,
    /// Whether it is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`; none where it is none that the standard knows.
    #[must_use]
    pub fn parse(traceparent: &[u8]) -> Option<Self> {
        let (known, later) = traceparent.split_at_checked(TRACEPARENT_BYTES)?;
        let version = hex(&known[..2])?;
        // Later versions may add fields behind these; there is no version 255.
        let fits = match version {
            0 => later.is_empty(),
            255 => false,
            _ => later.first().is_none_or(|byte| *byte == b'-'),
        };
        let dashed = known[2] == b'-' && known[35] == b'-' && known[52] == b'-';
        if !fits || !dashed {
            return None;
        }
        let trace = hex(&known[3..35])?;
        let span = hex(&known[36..52])? as u64;
        let flags = hex(&known[53..])? as u8;
        (trace != 0 && span != 0).then_some(Self {
            trace,
            span,
            sampled: flags & SAMPLED != 0,
        })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.sampled { SAMPLED } else { 0 };
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span)
    }
}

/// A number in lower-case digits, which is all that the standard allows.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_parent_is_what_the_standard_says() {
        let context = TraceContext {
            trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            span: 0x00f0_67aa_0ba9_02b7,
            sampled: true,
        };
        assert_eq!(TraceContext::parse(PARENT.as_bytes()), Some(context));
        assert_eq!(context.to_string(), PARENT);
        let unsampled = TraceContext {
            sampled: false,
            ..context
        };
        let text = unsampled.to_string();
        assert_eq!(TraceContext::parse(text.as_bytes()), Some(unsampled));
        let later = PARENT.replacen("00", "cc", 1) + "-more";
        assert_eq!(TraceContext::parse(later.as_bytes()), Some(context));
        for bad in [
            "",
            "00-x",
            &PARENT.to_uppercase(),
            &PARENT.replacen("00", "ff", 1),
            &format!("{PARENT}-more"),
            &(PARENT.replacen("00", "cc", 1) + "more"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00+4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
