//! Durations and sizes as people write them in settings: `8s`, `500ms`, `2m`, `1MiB`.

use std::time::Duration;

/// Reads `500ms`, `8s`, `2m` or `1h`; a bare number is seconds. A clap `value_parser`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{unit}` is not one of ms, s, m, h")),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

/// [`duration`], of whole seconds: for what is compared with Unix seconds, where a part of one would
/// be none. A clap `value_parser`.
pub fn whole_seconds(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.subsec_nanos() > 0 {
        return Err("is not a number of whole seconds".to_owned());
    }
    Ok(duration)
}

/// Reads `512`, `64KiB`, `1MiB` or `2GiB` as bytes. A clap `value_parser`.
pub fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("`{unit}` is not one of B, KiB, MiB, GiB")),
    };
    let bytes = number.checked_mul(factor).ok_or_else(|| "too large".to_owned())?;
    usize::try_from(bytes).map_err(|_| "too large".to_owned())
}

fn split(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Ok((number.parse().map_err(|_| "does not begin with a whole number".to_owned())?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_default_to_seconds() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("8"), Ok(Duration::from_secs(8)));
        assert_eq!(duration(" 2 m "), Ok(Duration::from_mins(2)));
        for wrong in ["", "s", "-1s", "1.5s", "1d", "99999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_part_of_a_second_is_refused_where_seconds_count() {
        assert_eq!(whole_seconds("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(whole_seconds("2000ms"), Ok(Duration::from_secs(2)));
        assert_eq!(whole_seconds("0"), Ok(Duration::ZERO));
        for wrong in ["1ms", "999ms", "1500ms", "x"] {
            assert!(whole_seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(bytes("1MiB"), Ok(1_048_576));
        assert_eq!(bytes("512"), Ok(512));
        for wrong in ["1MB", "1M", "", "x", "99999999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
