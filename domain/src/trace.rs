//! W3C Trace Context: which trace a request or record is part of.
//! <https://www.w3.org/TR/trace-context/#traceparent-header>

use std::fmt;

/// A `traceparent`: the span that something follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace; not 0.
    pub trace_id: u128,
    /// The span within it; not 0.
    pub span_id: u64,
    /// Whether the trace is kept, as far as whoever made the span knows.
    pub sampled: bool,
}

/// Length of version 00, in bytes.
const LENGTH: usize = 55;

impl Traceparent {
    /// Reads the header's value. What is not exactly of version 00's form is none; of a later version
    /// the part that both share counts, as the recommendation asks for.
    pub fn parse(text: &str) -> Option<Self> {
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let mut fields = known.split('-');
        let mut field = |digits: usize| {
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let field = fields.next().filter(|field| field.len() == digits)?;
            field.bytes().all(is_hex).then_some(field)
        };
        let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        let fits = match version {
            "00" => rest.is_empty(),
            "ff" => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let trace_id = u128::from_str_radix(trace, 16).ok()?;
        let span_id = u64::from_str_radix(span, 16).ok()?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        (fits && trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, sampled })
    }
}

impl fmt::Display for Traceparent {
    /// Version 00: 55 bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_well_formed_comes_back_as_it_was() {
        let parsed = Traceparent::parse(GOOD).unwrap();
        assert_eq!(parsed.span_id, 0x00f0_67aa_0ba9_02b7);
        assert!(parsed.sampled);
        assert_eq!(parsed.to_string(), GOOD);
        let unsampled = GOOD.replace("-01", "-00");
        assert_eq!(Traceparent::parse(&unsampled).unwrap().to_string(), unsampled);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for later in ["cc", "01"].map(|version| GOOD.replacen("00", version, 1)) {
            for text in [later.clone(), format!("{later}-what-will-be")] {
                assert_eq!(Traceparent::parse(&text).unwrap().to_string(), GOOD, "{text}");
            }
        }
        let unknown_flags = GOOD.replace("-01", "-f3");
        assert_eq!(Traceparent::parse(&unknown_flags).unwrap().to_string(), GOOD);
    }

    #[test]
    fn what_is_not_well_formed_is_none() {
        for wrong in [
            String::new(),
            "é".repeat(40),
            GOOD.to_uppercase(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-00"),
            format!("{GOOD} "),
            GOOD.replacen("00", "ff", 1),
            GOOD.replacen("00", "0g", 1),
            GOOD.replacen("00", "01", 1) + ".",
            GOOD.replace('-', "_"),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("00f067aa0ba902b7", "+0f067aa0ba902b7"),
        ] {
            assert_eq!(Traceparent::parse(&wrong), None, "{wrong}");
        }
    }
}
