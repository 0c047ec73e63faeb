//! Quotes, and how a payment finds its own.

use crate::script::Script;
use serde_json::{Value, json};

/// A row of `pay.quote`: what was agreed before the payment. An input, at any moment. Amounts are
/// minor units.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quote {
    /// `qte_…`.
    pub quote_id: String,
    /// The order, once there is one.
    pub order_id: Option<String>,
    /// Who pays.
    pub buyer_id: String,
    /// Who is paid.
    pub provider_id: String,
    /// What the provider is booked as.
    pub role_code: String,
    /// ISO 4217, upper case.
    pub currency: String,
    /// Before tax, the platform's fee included.
    pub subtotal: i64,
    /// The platform's part of the total.
    pub platform_fee: i64,
    /// The tax in the total.
    pub tax: i64,
    /// What is paid first; 0 if all is paid at once.
    pub deposit: i64,
    /// What is paid in all.
    pub total: i64,
}

/// What a payment says about its business, by metadata or checkout session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links {
    pub(crate) quote: Option<String>,
    pub(crate) order: Option<String>,
    pub(crate) provider: Option<String>,
}

impl Links {
    /// The links as metadata.
    pub(crate) fn metadata(&self) -> Value {
        let mut metadata = json!({});
        let links =
            [("quote_id", &self.quote), ("order_id", &self.order), ("provider_id", &self.provider)];
        for (key, value) in links {
            if let Some(value) = value {
                metadata[key] = json!(value);
            }
        }
        metadata
    }

    /// What most payments say: everything, or nothing at all.
    pub(crate) fn usual(script: &mut Script<'_>) -> Self {
        if !script.rng().chance(0.6) {
            return Self::default();
        }
        Self {
            quote: Some(script.id("qte")),
            order: script.rng().coin().then(|| script.id("ord")),
            provider: script.rng().coin().then(|| script.id("usr")),
        }
    }
}

impl Quote {
    /// A quote over this total, whose fee and tax seldom divide evenly. Not yet an input.
    pub(crate) fn over(script: &mut Script<'_>, currency: &str, total: i64) -> Self {
        let tax = script.rng().between(0, total / 5);
        Self {
            quote_id: script.id("qte"),
            order_id: None,
            buyer_id: script.id("usr"),
            provider_id: script.id("usr"),
            role_code: "photographer".to_owned(),
            currency: currency.to_uppercase(),
            subtotal: total - tax,
            platform_fee: script.rng().between(0, total / 4),
            tax,
            deposit: 0,
            total,
        }
    }
}
