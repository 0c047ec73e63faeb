//! Payment intents, charges and refunds as the API versions show them.

use crate::Shape;
use serde_json::{Value, json};

/// What objects of one payment share.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) currency: &'static str,
    pub(crate) livemode: bool,
    /// Payment method type, such as `card`, `us_bank_account` or `sepa_debit`.
    pub(crate) method: &'static str,
    pub(crate) metadata: Value,
    /// The invoice that is paid; shown until basil.
    pub(crate) invoice: Option<String>,
    pub(crate) connect: Connect,
}

/// What Connect adds to a payment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connect {
    /// The connected account that a destination charge is for.
    pub(crate) destination: Option<String>,
    /// `transfer_data` came in 2018; a charge of the older kind has only `destination`.
    pub(crate) is_old_destination: bool,
    /// `transfer_data.amount`.
    pub(crate) transfer_amount: Option<i64>,
    pub(crate) transfer: Option<String>,
    pub(crate) transfer_group: Option<String>,
    /// `application_fee_amount`, and the fee once it is taken.
    pub(crate) fee_amount: Option<i64>,
    pub(crate) fee: Option<String>,
    /// The platform's application, on a direct charge.
    pub(crate) application: Option<&'static str>,
}

impl Connect {
    fn transfer_data(&self) -> Value {
        match &self.destination {
            Some(account) => json!({"amount": self.transfer_amount, "destination": account}),
            None => Value::Null,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) amount: i64,
    pub(crate) received: i64,
    pub(crate) capturable: i64,
    pub(crate) status: &'static str,
    pub(crate) manual: bool,
    pub(crate) canceled: Option<(i64, &'static str)>,
    pub(crate) last_error: Value,
}

impl Intent {
    pub(crate) fn json(&self, shape: Shape, common: &Common, charges: &[Charge]) -> Value {
        let action = (self.status == "requires_action").then(|| json!({"type": "use_stripe_sdk"}));
        let mut object = json!({
            "id": self.id,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_capturable": self.capturable,
            "amount_received": self.received,
            "application": common.connect.application,
            "application_fee_amount": common.connect.fee_amount,
            "canceled_at": self.canceled.map(|(at, _)| at),
            "cancellation_reason": self.canceled.map(|(_, reason)| reason),
            "capture_method": if self.manual { "manual" } else { "automatic" },
            "client_secret": format!("{}_secret_hidden", self.id),
            "confirmation_method": "automatic",
            "created": self.created,
            "currency": common.currency,
            "customer": null,
            "description": null,
            "last_payment_error": self.last_error,
            "livemode": common.livemode,
            "metadata": common.metadata,
            "next_action": action,
            "on_behalf_of": null,
            "payment_method_types": [common.method],
            "status": self.status,
            "transfer_data": common.connect.transfer_data(),
            "transfer_group": common.connect.transfer_group,
        });
        if shape.nests() {
            let newest_first = charges.iter().rev().map(|charge| charge.json(shape, common));
            let url = format!("/v1/charges?payment_intent={}", self.id);
            object["charges"] = list(newest_first.collect(), &url);
        } else {
            object["latest_charge"] = json!(charges.last().map(|charge| &charge.id));
            object["automatic_payment_methods"] = Value::Null;
            object["amount_details"] = json!({"tip": {}});
        }
        if !shape.has_invoice_payments() {
            object["invoice"] = json!(common.invoice);
        }
        if shape == Shape::Flat {
            object["customer_account"] = Value::Null;
            object["excluded_payment_method_types"] = Value::Null;
        }
        object
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Charge {
    pub(crate) id: String,
    pub(crate) intent: Option<String>,
    pub(crate) created: i64,
    pub(crate) amount: i64,
    pub(crate) amount_captured: i64,
    pub(crate) captured: bool,
    pub(crate) status: &'static str,
    pub(crate) balance_transaction: Option<String>,
    pub(crate) source_transfer: Option<String>,
    pub(crate) refunds: Vec<Refund>,
    /// Released rest of the authorisation, as far as this account's `amount_refunded` shows it.
    pub(crate) released: i64,
}

impl Charge {
    /// Pending refunds count at Stripe; failed and canceled ones no longer do.
    pub(crate) fn amount_refunded(&self) -> i64 {
        let alive = |refund: &&Refund| !refund.is_release && refund.is_alive();
        self.released + self.refunds.iter().filter(alive).map(|refund| refund.amount).sum::<i64>()
    }

    /// Whether nothing is left to refund.
    pub(crate) fn is_refunded(&self) -> bool {
        let refundable = if self.captured { self.amount_captured } else { self.amount };
        self.amount_refunded() > 0 && self.amount_refunded() - self.hidden() >= refundable
    }

    /// Released money that `amount_refunded` shows beyond refunds of captured money.
    fn hidden(&self) -> i64 {
        if self.captured { self.released } else { 0 }
    }

    pub(crate) fn json(&self, shape: Shape, common: &Common) -> Value {
        let failed = self.status == "failed";
        let connect = &common.connect;
        let transfer_data =
            if connect.is_old_destination { Value::Null } else { connect.transfer_data() };
        let mut object = json!({
            "id": self.id,
            "object": "charge",
            "amount": self.amount,
            "amount_captured": self.amount_captured,
            "amount_refunded": self.amount_refunded(),
            "application": connect.application,
            "application_fee": connect.fee,
            "application_fee_amount": connect.fee_amount,
            "balance_transaction": self.balance_transaction,
            "billing_details": {"address": {"country": "US"}, "email": null, "name": null},
            "calculated_statement_descriptor": "EXAMPLE",
            "captured": self.captured,
            "created": self.created,
            "currency": common.currency,
            "customer": null,
            "description": null,
            "destination": connect.destination,
            "dispute": null,
            "disputed": false,
            "failure_code": failed.then_some(failure_code(common.method)),
            "failure_message": failed.then_some("The payment failed."),
            "fraud_details": {},
            "livemode": common.livemode,
            "metadata": common.metadata,
            "on_behalf_of": null,
            "outcome": {"type": if failed { "issuer_declined" } else { "authorized" }},
            "paid": self.status == "succeeded",
            "payment_intent": self.intent,
            "payment_method": "pm_1",
            "payment_method_details": method_details(common.method),
            "receipt_url": null,
            "refunded": self.is_refunded(),
            "source": null,
            "source_transfer": self.source_transfer,
            "status": self.status,
            "transfer_data": transfer_data,
            "transfer_group": connect.transfer_group,
        });
        if let Some(transfer) = &connect.transfer {
            object["transfer"] = json!(transfer);
        }
        if shape.nests() {
            let newest_first = self.refunds.iter().rev().map(|refund| refund.json(shape, common));
            let url = format!("/v1/charges/{}/refunds", self.id);
            object["refunds"] = list(newest_first.collect(), &url);
        }
        if !shape.has_invoice_payments() {
            object["invoice"] = json!(common.invoice);
        }
        object
    }
}

pub(crate) fn failure_code(method: &str) -> &'static str {
    if method == "card" { "card_declined" } else { "insufficient_funds" }
}

fn method_details(method: &str) -> Value {
    match method {
        "card" => json!({
            "card": {"brand": "visa", "country": "US", "last4": "4242", "wallet": null},
            "type": "card",
        }),
        "sepa_debit" => json!({
            "sepa_debit": {"bank_code": "37040044", "country": "DE", "last4": "3000"},
            "type": "sepa_debit",
        }),
        other => json!({other: {"bank_name": "TEST BANK", "last4": "6789"}, "type": other}),
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Refund {
    pub(crate) id: String,
    pub(crate) charge: String,
    pub(crate) intent: Option<String>,
    pub(crate) created: i64,
    pub(crate) amount: i64,
    pub(crate) status: &'static str,
    pub(crate) balance_transaction: Option<String>,
    pub(crate) source_transfer_reversal: Option<String>,
    pub(crate) transfer_reversal: Option<String>,
    pub(crate) is_release: bool,
    /// Whether any event has shown it: until then only its charge's `amount_refunded` tells.
    pub(crate) is_named: bool,
}

impl Refund {
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.status, "failed" | "canceled")
    }

    pub(crate) fn json(&self, shape: Shape, common: &Common) -> Value {
        let failed = self.status == "failed";
        let mut object = json!({
            "id": self.id,
            "object": "refund",
            "amount": self.amount,
            "balance_transaction": self.balance_transaction,
            "charge": self.charge,
            "created": self.created,
            "currency": common.currency,
            "metadata": {},
            "payment_intent": self.intent,
            "reason": (!self.is_release).then_some("requested_by_customer"),
            "receipt_number": null,
            "source_transfer_reversal": self.source_transfer_reversal,
            "status": self.status,
            "transfer_reversal": self.transfer_reversal,
        });
        if failed {
            object["failure_reason"] = json!("expired_or_canceled_card");
        }
        if shape.has_refund_events() {
            object["destination_details"] = json!({"type": common.method});
            if self.status == "pending" {
                object["pending_reason"] = json!("processing");
            }
        }
        object
    }
}

/// A Stripe list that holds all its elements.
pub(crate) fn list(data: Vec<Value>, url: &str) -> Value {
    let count = data.len();
    let mut list = json!({"object": "list", "has_more": false, "total_count": count, "url": url});
    list["data"] = Value::Array(data);
    list
}
