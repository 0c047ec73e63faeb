//! Hiding personal data in what is shown to people.
//!
//! Masked are all text and numbers under the keys below, however deep, and every e-mail address in
//! any text. README.md lists the keys. What is masked keeps its type, so that a field of a wrong
//! type still shows.

use serde_json::{Map, Value};

/// What stands for a masked text; a masked number is [`MASKED_NUMBER`].
pub(crate) const MASKED: &str = "***";
/// What stands for a masked number.
pub(crate) const MASKED_NUMBER: &str = "*** (number)";

/// Keys whose values are personal, with all that is inside them.
const KEYS: [&str; 31] = [
    "address",
    "bank_account",
    "billing_details",
    "card",
    "card_present",
    "customer_details",
    "cvc",
    "description",
    "dob",
    "email",
    "exp_month",
    "exp_year",
    "fingerprint",
    "iban",
    "individual",
    "ip",
    "last4",
    "line1",
    "line2",
    "name",
    "number",
    "owner",
    "phone",
    "postal_code",
    "receipt_url",
    "relationship",
    "shipping",
    "sort_code",
    "ssn_last_4",
    "tax_ids",
    "user_agent",
];
/// So are keys that end like this: `cardholder_name`, `receipt_email`, `company_address`, …
const ENDINGS: [&str; 6] = ["_name", "_email", "_phone", "_address", "_last4", "_number"];

/// The same document with personal data masked.
pub(crate) fn document(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let value = if is_personal(key) { whole(value) } else { document(value) };
                (text(key), value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(document).collect(),
        Value::String(said) => text(said).into(),
        other => other.clone(),
    }
}

/// The same text with what looks like an e-mail address masked.
pub(crate) fn text(said: &str) -> String {
    said.split_inclusive(char::is_whitespace)
        .map(|word| {
            let core = word.trim_end();
            if is_email(core) { format!("{MASKED}{}", &word[core.len()..]) } else { word.into() }
        })
        .collect()
}

/// Everything inside masked; only the shape is left.
fn whole(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (text(key), whole(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(whole).collect(),
        Value::String(_) => MASKED.into(),
        Value::Number(_) => MASKED_NUMBER.into(),
        Value::Bool(_) | Value::Null => value.clone(),
    }
}

fn is_personal(key: &str) -> bool {
    let key = key.to_lowercase();
    KEYS.contains(&key.as_str()) || ENDINGS.iter().any(|ending| key.ends_with(ending))
}

/// Whether a word holds an e-mail address: something before an `@`, a dot somewhere after it. As in
/// a URL, the `@` may be escaped.
fn is_email(word: &str) -> bool {
    let split = word.split_once('@').or_else(|| word.split_once("%40"));
    split.is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_hide_all_that_is_inside_them_and_keep_its_shape() {
        let charge = json!({
            "id": "ch_1", "amount": 500, "status": "succeeded", "receipt_email": "a@b.c",
            "billing_details": {"name": "Ada", "address": {"city": "London", "line2": null}},
            "payment_method_details": {"type": "card", "card": {
                "brand": "visa", "exp_month": 4, "last4": "4242", "three_d_secure": false}},
            "metadata": {"Customer_Name": "Ada", "quote_id": "qte_1"},
        });
        assert_eq!(
            document(&charge),
            json!({
                "id": "ch_1", "amount": 500, "status": "succeeded", "receipt_email": "***",
                "billing_details": {"name": "***", "address": {"city": "***", "line2": null}},
                "payment_method_details": {"type": "card", "card": {
                    "brand": "***", "exp_month": "*** (number)", "last4": "***",
                    "three_d_secure": false}},
                "metadata": {"Customer_Name": "***", "quote_id": "qte_1"},
            })
        );
    }

    #[test]
    fn e_mail_addresses_are_hidden_wherever_they_are() {
        for (said, shown) in [
            ("ada@example.org", "***"),
            ("for ada.l+x@mail.example.org, thanks", "for *** thanks"),
            ("<ada@example.org>\nnext", "***\nnext"),
            ("https://x.test/?to=ada%40example.org", "***"),
            ("ünï@exämple.org", "***"),
            ("2 @ 3.50", "2 @ 3.50"),
            ("@handle", "@handle"),
            ("evt_1", "evt_1"),
        ] {
            assert_eq!(text(said), shown);
        }
        let odd = json!({"metadata": {"ada@example.org": ["b@c.de"]}});
        assert_eq!(document(&odd), json!({"metadata": {"***": ["***"]}}));
    }
}
