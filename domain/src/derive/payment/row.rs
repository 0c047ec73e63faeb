//! The rows of a payment, its refunds and its disputes.

use super::{Payment, Seen};
use crate::derive::method;
use crate::id;
use crate::json::Doc;
use crate::object::charge::{self, Charge};
use crate::object::dispute::Dispute;
use crate::object::payment_intent::{self, PaymentIntent};
use crate::object::refund::Refund;
use crate::quote::{UNQUOTED, pro_rata};
use crate::row;
use crate::settings::Settings;
use crate::state::Snapshot;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

impl Payment<'_> {
    /// Its row. The quote is what the payment itself names; quote, fee and tax are settled once the
    /// quotes are known ([`crate::settlement`]).
    pub(super) fn row(&self, name: &str, settings: &Settings) -> row::Txn {
        let intent = self.intent.as_ref();
        let charge = self.main_charge();
        let (state, snapshot) = self.speaker();
        let account = &state.key.account;
        let (captured_cents, refunded_cents) = (self.captured(), self.refunded());
        let is_refunded = captured_cents > 0 && refunded_cents >= captured_cents;
        let status = match (intent, charge) {
            (Some(seen), _) => intent_status(&seen.object, self.outruns_intent(), is_refunded),
            (None, Some(seen)) => charge_status(&seen.object, is_refunded),
            (None, None) => unreachable!("a payment has an intent or a charge"),
        };
        let is_charge_alone = charge.is_some_and(|seen| seen.object.id == name);
        let docs = [intent.map(|seen| seen.snapshot), charge.map(|seen| seen.snapshot)];
        let stripe_method = charge
            .and_then(|seen| seen.object.method)
            .or_else(|| only_method(Doc(&intent?.snapshot.doc)))
            .map(str::to_owned);
        let milestones = self.milestones();
        let quotes = self.quotes(settings);
        row::Txn {
            txn_id: id::txn_id(account, name),
            name: name.to_owned(),
            account: account.clone(),
            livemode: snapshot.livemode,
            has_rival_quotes: quotes.len() > 1,
            is_misfit: false,
            quote_id: match quotes.as_slice() {
                [only] => (*only).to_owned(),
                _ => UNQUOTED.to_owned(),
            },
            order_id: self.order(settings).map(str::to_owned),
            provider_id: self.metadata(&settings.keys.provider_id).map(str::to_owned),
            destination_account: self.destination().map(str::to_owned),
            destination_provider: None,
            is_direct: self.is_direct(),
            stripe_pi: (!is_charge_alone).then(|| name.to_owned()),
            stripe_ch: intent
                .and_then(|seen| seen.object.latest_charge)
                .or_else(|| charge.map(|seen| seen.object.id))
                .map(str::to_owned),
            method: method::of(stripe_method.as_deref()),
            stripe_method,
            status,
            stripe_status: match intent {
                Some(seen) => Some(seen.object.stripe_status.to_owned()),
                None if is_charge_alone => charge.map(|seen| seen.object.stripe_status.to_owned()),
                None => None,
            },
            authorized_at: milestones.authorized_at,
            captured_at: milestones.captured_at,
            amount_cents: intent
                .map(|seen| seen.object.amount)
                .or_else(|| charge.map(|seen| seen.object.amount))
                .unwrap_or_default(),
            captured_cents,
            refunded_cents,
            kept_cents: self.kept(),
            destination_cents: self.destination_share(),
            application_fee_cents: self.application_fee(),
            fee_cents: 0,
            tax_cents: 0,
            currency: self.currency().to_owned(),
            meta: meta(&docs, &self.reviews, &self.warnings),
            created_at: intent
                .and_then(|seen| seen.object.created)
                .or_else(|| charge.map(|seen| seen.object.created))
                .unwrap_or(snapshot.created),
            as_of: self.as_of(),
        }
    }

    /// Whether a charge shows a capture that the intent has yet to tell of. Part of an authorised
    /// payment may be captured while it waits for the rest.
    fn outruns_intent(&self) -> bool {
        use payment_intent::Status;
        let waits = self.intent.as_ref().is_some_and(|intent| {
            matches!(intent.object.status, Status::RequiresCapture | Status::Canceled)
        });
        self.charges.iter().any(|seen| {
            if waits { seen.object.is_fully_captured() } else { seen.object.captured > 0 }
        })
    }

    /// ISO 4217, upper case.
    pub(super) fn currency(&self) -> &str {
        let intent = self.intent.as_ref().map(|seen| &seen.object.currency);
        let charge = || self.main_charge().map(|seen| &seen.object.currency);
        intent.or_else(charge).map_or("", String::as_str)
    }

    /// What the metadata of the intent, else of the charge, else of a checkout session says.
    fn metadata(&self, key: &str) -> Option<&str> {
        let payment = [
            self.intent.as_ref().map(|seen| seen.snapshot),
            self.main_charge().map(|seen| seen.snapshot),
        ];
        let sessions = self.sessions.iter().map(|seen| seen.snapshot);
        let mut docs = payment.into_iter().flatten().chain(sessions);
        docs.find_map(|snapshot| Doc(&snapshot.doc).metadata(key))
    }

    /// The quotes that it may belong to by its own word or its sessions': more than one only where
    /// sessions disagree.
    fn quotes(&self, settings: &Settings) -> Vec<&str> {
        let key = &settings.keys.quote_id;
        let payment = [
            self.intent.as_ref().map(|seen| seen.snapshot),
            self.main_charge().map(|seen| seen.snapshot),
        ];
        let own = payment.into_iter().flatten().find_map(|it| Doc(&it.doc).metadata(key));
        if let Some(own) = own {
            return vec![own];
        }
        let sessions = self.sessions.iter();
        let named: BTreeSet<&str> =
            sessions.clone().filter_map(|seen| Doc(&seen.snapshot.doc).metadata(key)).collect();
        let referenced = || sessions.filter_map(|seen| seen.object.quote()).collect();
        let found: BTreeSet<&str> = if named.is_empty() { referenced() } else { named };
        found.into_iter().collect()
    }

    fn order(&self, settings: &Settings) -> Option<&str> {
        self.metadata(&settings.keys.order_id)
            .or_else(|| self.sessions.iter().find_map(|seen| seen.object.order()))
    }

    /// The application fee net of its refunds, minor units, where a fee is known.
    fn application_fee(&self) -> Option<i64> {
        let fees = self.fees.iter().map(|seen| seen.object.net);
        fees.reduce(i64::saturating_add)
    }

    /// What of the kept money is the destination's, minor units, where there is one: a part of what
    /// was captured is of what is kept too.
    fn destination_share(&self) -> Option<i64> {
        self.destination()?;
        let (kept, captured) = (self.kept(), self.captured());
        // A fee is given back for itself, not with the money: what is kept may be less than it.
        if let Some(fee) = self.application_fee() {
            return Some(kept.saturating_sub(fee));
        }
        let charge = self.main_charge().map(|seen| &seen.object);
        let intent = self.intent.as_ref().map(|seen| &seen.object);
        let amount = charge.and_then(|charge| charge.transfer_amount);
        if let Some(amount) = amount.or_else(|| intent?.transfer_amount) {
            return Some(pro_rata(amount.max(0), kept, captured).min(kept));
        }
        let fee = charge.and_then(|charge| charge.application_fee_amount);
        let fee = fee.or_else(|| intent?.application_fee_amount).unwrap_or(0).max(0);
        Some(kept - pro_rata(fee, kept, captured).min(kept))
    }
}

/// A charge may outrun the last word of its intent.
fn intent_status(intent: &PaymentIntent<'_>, is_outrun: bool, is_refunded: bool) -> &'static str {
    use payment_intent::Status;
    match intent.status {
        _ if is_outrun && is_refunded => "refunded",
        _ if is_outrun => "captured",
        // Not an end: a retry can still succeed.
        Status::RequiresPaymentMethod if intent.has_failed => "failed",
        Status::RequiresPaymentMethod | Status::RequiresConfirmation | Status::RequiresAction => {
            "requires_action"
        }
        Status::Processing => "processing",
        Status::RequiresCapture => "authorized",
        Status::Canceled => "canceled",
        Status::Succeeded if is_refunded => "refunded",
        Status::Succeeded => "captured",
    }
}

fn charge_status(charge: &Charge<'_>, is_refunded: bool) -> &'static str {
    match charge.status {
        charge::Status::Pending => "processing",
        charge::Status::Failed => "failed",
        charge::Status::Succeeded if charge.released => "canceled",
        charge::Status::Succeeded if charge.captured == 0 => "authorized",
        charge::Status::Succeeded if is_refunded => "refunded",
        charge::Status::Succeeded => "captured",
    }
}

/// The type of the payment method where an intent leaves no choice.
fn only_method(intent: Doc<'_>) -> Option<&str> {
    match intent.list("payment_method_types") {
        [Value::String(only)] => Some(only),
        _ => None,
    }
}

/// Metadata of the intent, else of the charge, why the last attempt failed, and what Radar says.
fn meta(docs: &[Option<&Snapshot>; 2], reviews: &[Doc<'_>], warnings: &[Doc<'_>]) -> Value {
    let mut meta = Map::new();
    let docs = || docs.iter().flatten().map(|snapshot| Doc(&snapshot.doc));
    let metadata = docs().filter_map(|doc| doc.child("metadata"));
    if let Some(found) =
        metadata.into_iter().find(|doc| doc.0.as_object().is_some_and(|m| !m.is_empty()))
    {
        meta.insert("metadata".to_owned(), found.0.clone());
    }
    let code = docs().find_map(|doc| {
        let error = doc.child("last_payment_error");
        error.and_then(|error| error.text("code")).or_else(|| doc.text("failure_code"))
    });
    if let Some(code) = code {
        meta.insert("failure_code".to_owned(), code.into());
    }
    let radar = [
        ("reviews", reviews, &["id", "open", "reason", "opened_reason", "closed_reason"][..]),
        ("early_fraud_warnings", warnings, &["id", "fraud_type", "actionable"][..]),
    ];
    for (name, objects, fields) in radar {
        if !objects.is_empty() {
            meta.insert(name.to_owned(), objects.iter().map(|doc| excerpt(*doc, fields)).collect());
        }
    }
    Value::Object(meta)
}

/// These fields of an object, as far as they are there.
fn excerpt(doc: Doc<'_>, fields: &[&str]) -> Value {
    let kept =
        fields.iter().filter_map(|field| Some(((*field).to_owned(), doc.get(field)?.clone())));
    Value::Object(kept.collect())
}

pub(super) fn refund(
    refund: &Seen<'_, Refund<'_>>,
    payment: &str,
    settings: &Settings,
) -> row::Refund {
    let account = &refund.state.key.account;
    let created_by = Doc(&refund.snapshot.doc).metadata(&settings.keys.created_by);
    row::Refund {
        refund_id: id::refund_id(account, refund.object.id),
        txn_id: id::txn_id(account, payment),
        account: account.clone(),
        stripe_ref: refund.object.id.to_owned(),
        amount_cents: refund.object.amount,
        currency: refund.object.currency.clone(),
        reason: refund.object.reason.unwrap_or("unspecified").to_owned(),
        status: refund.object.status.as_str(),
        stripe_status: refund.object.stripe_status.map(str::to_owned),
        created_by: match created_by {
            Some("buyer") => "buyer",
            Some("provider") => "provider",
            Some("admin") => "admin",
            _ => "system",
        },
        created_at: refund.object.created,
    }
}

pub(super) fn dispute(dispute: &Seen<'_, Dispute<'_>>, payment: &str) -> row::Dispute {
    let account = &dispute.state.key.account;
    row::Dispute {
        dispute_id: id::dispute_id(account, dispute.object.id),
        txn_id: id::txn_id(account, payment),
        account: account.clone(),
        stripe_dispute: dispute.object.id.to_owned(),
        amount_cents: dispute.object.amount,
        currency: dispute.object.currency.clone(),
        reason: dispute.object.reason.map(str::to_owned),
        status: dispute.object.status.as_str(),
        stripe_status: dispute.object.stripe_status.to_owned(),
        due_by: dispute.object.due_by,
        created_at: dispute.object.created,
    }
}
