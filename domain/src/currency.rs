//! Currencies as Stripe counts them: <https://docs.stripe.com/currencies#minor-units>.

/// Currencies whose smallest unit is the unit.
/// <https://docs.stripe.com/currencies#zero-decimal>
pub const ZERO_DECIMAL: [&str; 15] = [
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
    "XOF", "XPF",
];
/// Currencies with a thousandth. <https://docs.stripe.com/currencies#three-decimal>
pub const THREE_DECIMAL: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

/// How many decimals an amount of this currency (ISO 4217, upper case) has at Stripe. Not always as
/// ISO 4217 has it: ISK and UGX have two. <https://docs.stripe.com/currencies#special-cases>
pub fn decimals(currency: &str) -> usize {
    if ZERO_DECIMAL.contains(&currency) {
        0
    } else if THREE_DECIMAL.contains(&currency) {
        3
    } else {
        2
    }
}

/// An amount of minor units in the currency's decimals, with its currency: `-12.50 USD`.
pub fn display(minor_units: i64, currency: &str) -> String {
    let decimals = decimals(currency);
    let sign = if minor_units < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", minor_units.unsigned_abs(), width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    let point = if decimals == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{part} {currency}")
}

/// The minor units of an amount that a person wrote, such as `12.5` or `1250`, in a currency with so
/// many decimals. `None` for what is no amount, is too large, or has more decimals than that.
pub fn minor_units(text: &str, decimals: usize) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > decimals {
        return None;
    }
    format!("{whole}{part:0<decimals$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_currency_has_the_decimals_that_stripe_gives_it() {
        for (minor_units, currency, shown) in [
            (1250, "USD", "12.50 USD"),
            (5, "EUR", "0.05 EUR"),
            (0, "GBP", "0.00 GBP"),
            (-5, "USD", "-0.05 USD"),
            (-1250, "USD", "-12.50 USD"),
            (1250, "JPY", "1250 JPY"),
            (-1, "KRW", "-1 KRW"),
            (0, "CLP", "0 CLP"),
            (1250, "KWD", "1.250 KWD"),
            (7, "TND", "0.007 TND"),
            // Without decimals elsewhere, with two at Stripe.
            (1200, "ISK", "12.00 ISK"),
            (1200, "UGX", "12.00 UGX"),
            (1200, "HUF", "12.00 HUF"),
            (i64::MIN, "JPY", "-9223372036854775808 JPY"),
        ] {
            assert_eq!(display(minor_units, currency), shown);
        }
    }

    #[test]
    fn what_is_written_is_what_is_displayed() {
        for (text, decimals, units) in [
            ("12.50", 2, Some(1250)),
            ("12.5", 2, Some(1250)),
            ("12", 2, Some(1200)),
            ("12.", 2, Some(1200)),
            ("0.05", 2, Some(5)),
            ("1250", 0, Some(1250)),
            ("1.25", 3, Some(1250)),
            ("12.345", 2, None),
            ("1.5", 0, None),
            ("", 2, None),
            (".5", 2, None),
            ("-1", 2, None),
            ("1e3", 2, None),
            ("1.2.3", 2, None),
            ("99999999999999999999", 0, None),
        ] {
            assert_eq!(minor_units(text, decimals), units, "{text} with {decimals}");
        }
    }

    #[test]
    fn no_currency_is_in_two_lists() {
        assert!(ZERO_DECIMAL.iter().all(|currency| !THREE_DECIMAL.contains(currency)));
        assert!(ZERO_DECIMAL.is_sorted() && THREE_DECIMAL.is_sorted());
    }
}
