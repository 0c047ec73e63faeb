//! Currencies as Stripe counts them: <https://docs.stripe.com/currencies#minor-units>.

/// Currencies whose smallest unit is the unit.
/// <https://docs.stripe.com/currencies#zero-decimal>
const ZERO_DECIMAL: [&str; 15] = [
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
    "XOF", "XPF",
];
/// Currencies with a thousandth. <https://docs.stripe.com/currencies#three-decimal>
const THREE_DECIMAL: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

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
    fn no_currency_is_in_two_lists() {
        assert!(ZERO_DECIMAL.iter().all(|currency| !THREE_DECIMAL.contains(currency)));
        assert!(ZERO_DECIMAL.is_sorted() && THREE_DECIMAL.is_sorted());
    }
}
