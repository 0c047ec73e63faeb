//! Payments: an intent, its charges, their refunds and disputes, and what else speaks of them.

use super::{Unreadable, of_kind, unreadable};
use crate::json::Doc;
use crate::object::application_fee::{self, ApplicationFee};
use crate::object::charge::{self, Charge};
use crate::object::checkout_session::{self, CheckoutSession};
use crate::object::dispute::Dispute;
use crate::object::payment_intent::PaymentIntent;
use crate::object::refund::{self, Refund};
use crate::object::review;
use crate::order::earliest;
use crate::row::Rows;
use crate::settings::Settings;
use crate::state::{Milestones, ObjectState, Snapshot};
use std::collections::BTreeMap;

mod books;
mod row;

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
    /// Refunds of its captured money.
    refunds: Vec<&'a Seen<'a, Refund<'a>>>,
    sessions: Vec<Seen<'a, CheckoutSession<'a>>>,
    fees: Vec<Seen<'a, ApplicationFee<'a>>>,
    reviews: Vec<Doc<'a>>,
    warnings: Vec<Doc<'a>>,
}

/// The payments of an aggregate, by the Stripe id that names them: the intent's, or the charge's
/// where there is no intent.
struct Payments<'a>(BTreeMap<String, Payment<'a>>);

pub(super) fn derive(aggregate: &[&ObjectState], settings: &Settings) -> Result<Rows, Unreadable> {
    let refunds = read(aggregate, "refund", Refund::read)?;
    let disputes = read(aggregate, "dispute", Dispute::read)?;

    let mut rows = Rows::default();
    let mut payments = Payments::of(aggregate)?;
    for refund in &refunds {
        let payment = (!refund.object.is_far_side)
            .then(|| payments.find(refund.object.charge, refund.object.payment_intent))
            .flatten()
            .filter(|name| gives_back_captured_money(&refund.object, &payments.0[name]));
        rows.held.push((refund.state.key.clone(), payment.is_none()));
        rows.targets.push(books::refund(refund, payment.is_some(), settings));
        if let Some(name) = payment {
            rows.refunds.push(row::refund(refund, &name, settings));
            payments.0.entry(name).or_default().refunds.push(refund);
        }
    }
    for dispute in &disputes {
        rows.targets.push(books::dispute(dispute));
        if let Some(name) = payments.find(dispute.object.charge, dispute.object.payment_intent) {
            rows.disputes.push(row::dispute(dispute, &name));
        }
    }
    for (name, payment) in &payments.0 {
        rows.txns.push(payment.row(name, settings));
        rows.targets.extend(payment.targets(name, settings));
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

impl<'a> Payments<'a> {
    /// The payments that intents and charges make, with what speaks of them.
    fn of(aggregate: &[&'a ObjectState]) -> Result<Self, Unreadable> {
        let mut payments = Self(BTreeMap::new());
        for intent in read(aggregate, "payment_intent", PaymentIntent::read)? {
            let name = intent.object.id.to_owned();
            payments.0.entry(name).or_default().intent = Some(intent);
        }
        for charge in read(aggregate, "charge", Charge::read)? {
            let owner = payments.owner(&charge.object);
            if !charge.object.is_far_side {
                payments.0.entry(owner).or_default().charges.push(charge);
            }
        }
        for kind in [application_fee::NAME, application_fee::SHARE] {
            for fee in read(aggregate, kind, ApplicationFee::read)? {
                let charge = if kind == application_fee::NAME {
                    fee.object.originating
                } else {
                    fee.object.charge
                };
                if let Some(name) = payments.find(charge, None) {
                    payments.0.entry(name).or_default().fees.push(fee);
                }
            }
        }
        for session in
            read(aggregate, checkout_session::NAME, |doc| Ok(CheckoutSession::read(doc)))?
        {
            if let Some(name) = payments.find(None, session.object.payment_intent) {
                payments.0.entry(name).or_default().sessions.push(session);
            }
        }
        for kind in [review::REVIEW, review::WARNING] {
            for (_, snapshot) in of_kind(aggregate, kind) {
                let doc = Doc(&snapshot.doc);
                let named = payments.find(doc.id_of("charge"), doc.id_of("payment_intent"));
                let Some(payment) = named.and_then(|name| payments.0.get_mut(&name)) else {
                    continue;
                };
                let said = if kind == review::REVIEW {
                    &mut payment.reviews
                } else {
                    &mut payment.warnings
                };
                said.push(doc);
            }
        }
        Ok(payments)
    }

    /// The Stripe id that names a charge's payment.
    fn owner(&self, charge: &Charge<'_>) -> String {
        let named = || {
            self.0.iter().find_map(|(name, payment)| {
                let intent = payment.intent.as_ref()?;
                (intent.object.latest_charge == Some(charge.id)).then_some(name.as_str())
            })
        };
        charge.payment_intent.or_else(named).unwrap_or(charge.id).to_owned()
    }

    /// The name of the payment that this charge, or else this intent, belongs to.
    fn find(&self, charge: Option<&str>, intent: Option<&str>) -> Option<String> {
        let by_charge = charge
            .and_then(|charge| self.0.iter().find(|(_, payment)| payment.names(charge)))
            .map(|(name, _)| name.as_str());
        by_charge
            .or_else(|| intent.filter(|intent| self.0.contains_key(*intent)))
            .map(str::to_owned)
    }
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

    /// Who speaks for it: the intent, else the main charge.
    fn speaker(&self) -> (&'a ObjectState, &'a Snapshot) {
        let intent = self.intent.as_ref().map(|seen| (seen.state, seen.snapshot));
        let charge = || self.main_charge().map(|seen| (seen.state, seen.snapshot));
        intent.or_else(charge).expect("a payment has an intent or a charge")
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

    /// What was captured, minor units: the intent and its charges each count up, and either may be
    /// ahead.
    fn captured(&self) -> i64 {
        let by_charges =
            self.charges.iter().fold(0_i64, |sum, seen| sum.saturating_add(seen.object.captured));
        self.intent.as_ref().map_or(0, |seen| seen.object.captured()).max(by_charges)
    }

    /// What a fully captured charge says went back beyond the refunds that are known, minor units.
    fn unnamed_refunds(&self, charge: &Seen<'_, Charge<'_>>) -> i64 {
        if !charge.object.is_fully_captured() {
            return 0;
        }
        let known = self
            .refunds
            .iter()
            .filter(|refund| {
                self.charge_of(&refund.object).map(|seen| seen.object.id) == Some(charge.object.id)
                    && stood_at(refund, charge.snapshot)
            })
            .fold(0_i64, |sum, seen| sum.saturating_add(seen.object.amount));
        charge.object.amount_refunded.saturating_sub(known).max(0)
    }

    /// What went back, minor units: refunds of the kind that counts, and those that only a charge
    /// knows.
    fn went_back(&self, counts: impl Fn(&Refund<'_>) -> bool) -> i64 {
        let known = self.refunds.iter().filter(|seen| counts(&seen.object));
        let known = known.fold(0_i64, |sum, seen| sum.saturating_add(seen.object.amount));
        let unnamed = self.charges.iter().map(|charge| self.unnamed_refunds(charge));
        unnamed.fold(known, i64::saturating_add).clamp(0, self.captured())
    }

    /// Captured money that is back with the customer, minor units.
    fn refunded(&self) -> i64 {
        self.went_back(|refund| refund.status == refund::Status::Succeeded)
    }

    /// Captured and neither back with the customer nor on its way there, minor units.
    fn kept(&self) -> i64 {
        self.captured().saturating_sub(self.went_back(|refund| !refund.is_void()))
    }

    /// Whether a connected account owns it: then only its application fee is the platform's.
    fn is_direct(&self) -> bool {
        let intent = self.intent.iter().map(|seen| seen.state);
        intent.chain(self.charges.iter().map(|seen| seen.state)).any(|state| state.connected)
    }

    /// The connected account that gets the money of a destination charge.
    fn destination(&self) -> Option<&'a str> {
        let by_charge = self.main_charge().and_then(|seen| seen.object.destination);
        by_charge.or_else(|| self.intent.as_ref()?.object.destination)
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

    /// Stripe's time of the newest record about it, Unix seconds.
    fn as_of(&self) -> i64 {
        let intent = self.intent.iter().map(|seen| seen.snapshot.created);
        let charges = self.charges.iter().map(|seen| seen.snapshot.created);
        let refunds = self.refunds.iter().map(|seen| seen.snapshot.created);
        intent.chain(charges).chain(refunds).max().unwrap_or_default()
    }
}

/// Whether a refund was there, neither failed nor canceled, when the charge's snapshot was taken. In
/// the same second it is taken to have stood: then nothing is counted that may not be. The time of a
/// fetched charge lies before the answer, so it may know of refunds that are newer.
fn stood_at(refund: &Seen<'_, Refund<'_>>, charge: &Snapshot) -> bool {
    let failed_at = refund.state.milestones.failed_at;
    let was_there = refund.object.created <= charge.created || charge.is_fetched();
    was_there && failed_at.is_none_or(|failed_at| failed_at >= charge.created)
}
