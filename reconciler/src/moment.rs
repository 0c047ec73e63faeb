//! Moments as people write them: `2025-10-09T08:53:38Z`, or `2025-10-09` for the midnight, UTC, that
//! begins the day.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// Reads a moment as Unix seconds. A clap `value_parser`.
pub(crate) fn parse(text: &str) -> Result<i64, &'static str> {
    let day = format_description!("[year]-[month]-[day]");
    let midnight = || Date::parse(text, day).map(|date| date.midnight().assume_utc());
    let moment = OffsetDateTime::parse(text, &Rfc3339).or_else(|_| midnight());
    let problem = "is neither a day, 2025-10-09, nor a time such as 2025-10-09T08:53:38Z";
    moment.map(OffsetDateTime::unix_timestamp).map_err(|_| problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_read_and_nothing_else() {
        assert_eq!(parse("2025-10-09"), Ok(1_759_968_000));
        assert_eq!(parse("2025-10-09T08:53:38Z"), Ok(1_760_000_018));
        assert_eq!(parse("2025-10-09T10:53:38+02:00"), Ok(1_760_000_018));
        for text in ["", "2025", "2025-13-01", "yesterday", "1760000018"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
