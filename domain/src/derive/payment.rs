//! Payments: an intent, its charges, and their refunds and disputes.

use super::{Unreadable, method, of_kind, unreadable};
use crate::id;
use crate::json::Doc;
use crate::object::charge::{self, Charge};
use crate::object::dispute::Dispute;
use crate::object::payment_intent::{self, PaymentIntent};
use crate::object::refund::{self, Refund};
use crate::order::earliest;
use crate::row::{self, Rows};
use crate::settings::Settings;
use crate::state::{Milestones, ObjectState, Snapshot};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// An object as a row needs it, beside what is known about it.
struct Seen<'a, T> {
    object: T,
    state: &'a ObjectState,
    snapshot: &'a Snapshot,
}

/// One payment: what becomes one row of `pay.txn`.
#[derive(Default)]
struct Payment<'a> {
    intent: Option<Seen<'a, PaymentIntent<'a>>>,
    charges: Vec<Seen<'a, Charge<'a>>>,
}

/// The payments of an aggregate, by the Stripe id that names them: the intent's, or the charge's
/// where there is no intent.
type Payments<'a> = BTreeMap<String, Payment<'a>>;

pub(super) fn derive(aggregate: &[&ObjectState], settings: &Settings) -> Result<Rows, Unreadable> {
    let charges = read(aggregate, "charge", Charge::read)?;
    let intents = read(aggregate, "payment_intent", PaymentIntent::read)?;
    let refunds = read(aggregate, "refund", Refund::read)?;
    let disputes = read(aggregate, "dispute", Dispute::read)?;

    let mut rows = Rows::default();
    let mut payments = Payments::new();
    for intent in intents {
        let name = intent.object.id.to_owned();
        payments.entry(name).or_default().intent = Some(intent);
    }
    for charge in charges {
        let owner = owner(&charge.object, &payments);
        if charge.object.is_far_side || owner != charge.object.id {
            rows.absent_txns.push(id::txn_id(&charge.state.key.account, charge.object.id));
        }
        if !charge.object.is_far_side {
            payments.entry(owner).or_default().charges.push(charge);
        }
    }

    let mut taken: BTreeMap<String, Vec<&Seen<'_, Refund<'_>>>> = BTreeMap::new();
    for refund in &refunds {
        let payment = if refund.object.is_far_side {
            None
        } else {
            find(&payments, refund.object.charge, refund.object.payment_intent)
                .filter(|(_, payment)| gives_back_captured_money(&refund.object, payment))
        };
        rows.held.push((refund.state.key.clone(), payment.is_none()));
        match payment {
            Some((name, _)) => {
                rows.refunds.push(refund_row(refund, name, settings));
                taken.entry(name.to_owned()).or_default().push(refund);
            }
            None => {
                rows.absent_refunds
                    .push(id::refund_id(&refund.state.key.account, refund.object.id));
            }
        }
    }
    for dispute in &disputes {
        let named = find(&payments, dispute.object.charge, dispute.object.payment_intent);
        if let Some((name, _)) = named {
            rows.disputes.push(dispute_row(dispute, name));
        }
    }
    for (name, payment) in &payments {
        let refunds = taken.get(name).map_or(&[][..], Vec::as_slice);
        rows.txns.push(payment.row(name, refunds, settings));
    }
    Ok(rows)
}

fn read<'a, T>(
    aggregate: &[&'a ObjectState],
    kind: &'static str,
    read: impl Fn(Doc<'a>) -> Result<T, crate::json::Malformed>,
) -> Result<Vec<Seen<'a, T>>, Unreadable> {
    of_kind(aggregate, kind)
        .map(|(state, snapshot)| {
            let object = read(Doc(&snapshot.doc)).map_err(unreadable(state))?;
            Ok(Seen { object, state, snapshot })
        })
        .collect()
}

/// The Stripe id that names a charge's payment.
fn owner(charge: &Charge<'_>, payments: &Payments<'_>) -> String {
    let named = || {
        payments.iter().find_map(|(name, payment)| {
            let intent = payment.intent.as_ref()?;
            (intent.object.latest_charge == Some(charge.id)).then_some(name.as_str())
        })
    };
    charge.payment_intent.or_else(named).unwrap_or(charge.id).to_owned()
}

/// The payment that this charge, or else this intent, belongs to.
fn find<'a, 'p>(
    payments: &'p Payments<'a>,
    charge: Option<&str>,
    intent: Option<&str>,
) -> Option<(&'p str, &'p Payment<'a>)> {
    let by_charge =
        charge.and_then(|charge| payments.iter().find(|(_, payment)| payment.names(charge)));
    by_charge
        .or_else(|| payments.get_key_value(intent?))
        .map(|(name, payment)| (name.as_str(), payment))
}

/// Whether a refund gives back money that was captured. What gives back an authorisation, or the
/// rest of one that was captured in part, is a release: no money moved.
fn gives_back_captured_money(refund: &Refund<'_>, payment: &Payment<'_>) -> bool {
    let (captured, amount) = match payment.charge_of(refund) {
        Some(charge) => (charge.object.captured, charge.object.amount),
        None => match &payment.intent {
            Some(intent) => (intent.object.captured(), intent.object.amount),
            None => return false,
        },
    };
    let is_partial = captured < amount;
    let moved_nothing =
        refund.status == refund::Status::Succeeded && !refund.has_balance_transaction;
    captured > 0 && !(is_partial && moved_nothing)
}

impl<'a> Payment<'a> {
    /// Whether the charge is one of this payment's.
    fn names(&self, charge: &str) -> bool {
        self.charges.iter().any(|seen| seen.object.id == charge)
            || self.intent.as_ref().is_some_and(|seen| seen.object.latest_charge == Some(charge))
    }

    /// The charge that a refund gives back: the one it names, else the only captured one.
    fn charge_of(&self, refund: &Refund<'_>) -> Option<&Seen<'a, Charge<'a>>> {
        if let Some(id) = refund.charge {
            return self.charges.iter().find(|seen| seen.object.id == id);
        }
        let mut captured = self.charges.iter().filter(|seen| seen.object.captured > 0);
        captured.next().filter(|_| captured.next().is_none())
    }

    /// The newest charge that did not fail, else the newest.
    fn main_charge(&self) -> Option<&Seen<'a, Charge<'a>>> {
        self.charges.iter().max_by_key(|seen| {
            let Charge { status, created, id, .. } = &seen.object;
            (*status != charge::Status::Failed, *created, *id)
        })
    }

    /// What was captured: the intent and its charges each count up, and either may be ahead.
    fn captured(&self) -> i64 {
        let by_charges =
            self.charges.iter().fold(0_i64, |sum, seen| sum.saturating_add(seen.object.captured));
        self.intent.as_ref().map_or(0, |seen| seen.object.captured()).max(by_charges)
    }

    /// What went back. Refunds that are known speak for themselves; what the newest snapshot of a
    /// fully captured charge says beyond them went back too.
    fn refunded(&self, refunds: &[&Seen<'_, Refund<'_>>]) -> i64 {
        let succeeded = refunds
            .iter()
            .filter(|seen| seen.object.status == refund::Status::Succeeded)
            .fold(0_i64, |sum, seen| sum.saturating_add(seen.object.amount));
        let unknown = self
            .charges
            .iter()
            .filter(|charge| charge.object.is_fully_captured())
            .map(|charge| {
                let known = refunds
                    .iter()
                    .filter(|refund| {
                        self.charge_of(&refund.object).map(|seen| seen.object.id)
                            == Some(charge.object.id)
                            && stood_at(refund, charge.snapshot.created)
                    })
                    .fold(0_i64, |sum, seen| sum.saturating_add(seen.object.amount));
                charge.object.amount_refunded.saturating_sub(known).max(0)
            })
            .fold(0_i64, i64::saturating_add);
        succeeded.saturating_add(unknown).clamp(0, self.captured())
    }

    fn row(&self, name: &str, refunds: &[&Seen<'_, Refund<'_>>], settings: &Settings) -> row::Txn {
        let intent = self.intent.as_ref();
        let charge = self.main_charge();
        let (account, snapshot) = match (intent, charge) {
            (Some(seen), _) => (&seen.state.key.account, seen.snapshot),
            (None, Some(seen)) => (&seen.state.key.account, seen.snapshot),
            (None, None) => unreachable!("a payment has an intent or a charge"),
        };
        let captured_cents = self.captured();
        let refunded_cents = self.refunded(refunds);
        let is_refunded = captured_cents > 0 && refunded_cents >= captured_cents;
        let status = match (intent, charge) {
            (Some(seen), _) => intent_status(&seen.object, is_refunded),
            (None, Some(seen)) => charge_status(&seen.object, is_refunded),
            (None, None) => unreachable!("a payment has an intent or a charge"),
        };
        let is_charge_alone = charge.is_some_and(|seen| seen.object.id == name);
        let docs = || [intent.map(|seen| seen.snapshot), charge.map(|seen| seen.snapshot)];
        let metadata = |key: &str| {
            let mut found = docs().into_iter().flatten();
            found.find_map(|snapshot| Doc(&snapshot.doc).metadata(key)).map(str::to_owned)
        };
        let stripe_method = charge
            .and_then(|seen| seen.object.method)
            .or_else(|| only_method(Doc(&intent?.snapshot.doc)))
            .map(str::to_owned);
        let milestones = self.milestones();
        row::Txn {
            txn_id: id::txn_id(account, name),
            account: account.clone(),
            livemode: snapshot.livemode,
            quote_id: metadata(&settings.keys.quote_id).unwrap_or_else(|| "unquoted".to_owned()),
            order_id: metadata(&settings.keys.order_id),
            provider_id: metadata(&settings.keys.provider_id),
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
            currency: intent
                .map(|seen| seen.object.currency.clone())
                .or_else(|| charge.map(|seen| seen.object.currency.clone()))
                .unwrap_or_default(),
            meta: meta(&docs()),
            created_at: intent
                .and_then(|seen| seen.object.created)
                .or_else(|| charge.map(|seen| seen.object.created))
                .unwrap_or(snapshot.created),
        }
    }

    /// The earliest times that the intent or any of its charges show.
    fn milestones(&self) -> Milestones {
        let intent = self.intent.iter().map(|seen| seen.state.milestones);
        let charges = self.charges.iter().map(|seen| seen.state.milestones);
        intent.chain(charges).fold(Milestones::default(), |a, b| Milestones {
            authorized_at: earliest(a.authorized_at, b.authorized_at),
            captured_at: earliest(a.captured_at, b.captured_at),
            failed_at: None,
        })
    }
}

/// Whether a refund was there, neither failed nor canceled, when the charge's snapshot was taken. In
/// the same second it is taken to have stood: then nothing is counted that may not be.
fn stood_at(refund: &Seen<'_, Refund<'_>>, at: i64) -> bool {
    let failed_at = refund.state.milestones.failed_at;
    refund.object.created <= at && failed_at.is_none_or(|failed_at| failed_at >= at)
}

fn intent_status(intent: &PaymentIntent<'_>, is_refunded: bool) -> &'static str {
    use payment_intent::Status;
    match intent.status {
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

/// Metadata of the intent, else of the charge, and why the last attempt failed.
fn meta(docs: &[Option<&Snapshot>; 2]) -> Value {
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
    Value::Object(meta)
}

fn refund_row(refund: &Seen<'_, Refund<'_>>, payment: &str, settings: &Settings) -> row::Refund {
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

fn dispute_row(dispute: &Seen<'_, Dispute<'_>>, payment: &str) -> row::Dispute {
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
