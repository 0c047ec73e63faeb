//! The API versions differ where Stripe documents it, and only there.

use super::{lifecycles, object, of, told};
use lifecycles::{Scenario, Shape, Stripe};
use serde_json::Value;
use std::collections::BTreeSet;

/// Events of old keep the version of their creation; thin ones have none.
fn is_shaped(event: &lifecycles::Event, shape: Shape) -> bool {
    event.body["api_version"] == shape.api_version()
}

#[test]
fn objects_have_the_keys_of_their_version() {
    let mut seen = BTreeSet::new();
    for story in lifecycles() {
        let shape = story.shape;
        let (nests, before_basil) = (shape == Shape::Nested, shape < Shape::Basil);
        for event in story.events.iter().filter(|event| is_shaped(event, shape)) {
            let object = object(event);
            let has = |key: &str| object.get(key).is_some();
            let kind = object["object"].as_str().unwrap_or_default();
            seen.insert((shape, kind.to_owned()));
            match kind {
                "payment_intent" => {
                    assert_eq!(has("charges"), nests);
                    assert_eq!(has("latest_charge"), !nests);
                    assert_eq!(has("invoice"), before_basil);
                }
                "charge" => {
                    assert_eq!(has("refunds"), nests);
                    assert_eq!(has("invoice"), before_basil);
                }
                "invoice" => {
                    for key in ["payment_intent", "charge", "paid"] {
                        assert_eq!(has(key), before_basil, "{key}");
                    }
                    assert_eq!(has("parent"), !before_basil);
                }
                "invoice_payment" => assert!(!before_basil),
                "refund" => {
                    assert_eq!(event.kind.starts_with("refund."), !before_basil);
                    assert_eq!(event.kind == "charge.refund.updated", before_basil);
                }
                _ => {}
            }
        }
    }
    for shape in Shape::ALL {
        for kind in ["payment_intent", "charge", "invoice", "dispute", "refund", "application_fee"]
        {
            assert!(seen.contains(&(shape, kind.to_owned())), "no {kind} in {shape:?}");
        }
    }
}

/// In 2022-11-15 a refund that succeeds at once may be told by its charge's amount alone.
#[test]
fn only_one_version_leaves_refunds_unnamed() {
    let mut unnamed = BTreeSet::new();
    let mut named = BTreeSet::new();
    for story in of(&[Scenario::PartlyRefunded, Scenario::FullyRefunded]) {
        let kinds: BTreeSet<_> = story.truth.balances.keys().map(|balance| balance.kind).collect();
        if kinds.contains("refunds_unnamed") {
            unnamed.insert(story.shape);
        }
        if kinds.contains("refund") {
            named.insert(story.shape);
        }
        let issued = story.truth.facts.iter().filter(|fact| fact.kind == "refund.issued");
        assert_eq!(issued.count(), story.truth.refunds.len());
        assert!(story.truth.txns[0].refunded > 0);
    }
    assert_eq!(unnamed, BTreeSet::from([Shape::Linked]));
    assert_eq!(named, BTreeSet::from(Shape::ALL));
}

#[test]
fn money_shows_up_later_where_capture_is_asynchronous() {
    for story in of(&[Scenario::Paid, Scenario::DestinationCharge]) {
        let first = told(story, "charge.succeeded")[0];
        let is_late = story.shape >= Shape::Basil;
        assert_eq!(first["balance_transaction"].is_null(), is_late);
        let shown = if is_late { told(story, "charge.updated")[0] } else { first };
        assert!(shown["balance_transaction"].is_string());
        if story.scenario == Scenario::DestinationCharge {
            assert_eq!(first.get("transfer").is_none(), is_late);
            assert_eq!(first["application_fee"].is_null(), is_late);
            assert!(shown["transfer"].is_string() && shown["application_fee"].is_string());
        }
    }
}

#[test]
fn an_invoice_names_its_payments_in_the_way_of_its_version() {
    for story in of(&[Scenario::InvoicePaid, Scenario::InvoicePaidInParts]) {
        let row = &story.truth.invoices[0];
        let (paid, links) = (told(story, "invoice.paid")[0], told(story, "invoice_payment.paid"));
        let parts = if story.scenario == Scenario::InvoicePaid { 1 } else { 2 };
        assert_eq!(row.payments.len(), parts);
        assert_eq!(row.payments.iter().map(|(_, amount)| amount).sum::<i64>(), row.amount_paid);
        assert_eq!((row.amount_paid, row.amount_remaining), (row.total, 0));
        for (payment, amount) in &row.payments {
            if story.shape >= Shape::Basil {
                let link = links.iter().find(|link| link["payment"]["payment_intent"] == **payment);
                assert_eq!(link.unwrap()["amount_paid"], *amount);
            } else {
                assert!(paid["payment_intent"] == **payment || paid["charge"] == **payment);
            }
        }
    }
    let statuses = lifecycles().flat_map(|story| &story.truth.invoices);
    let statuses: BTreeSet<_> = statuses.map(|row| row.status).collect();
    assert_eq!(statuses, BTreeSet::from(["draft", "paid", "uncollectible", "void"]));
}

#[test]
fn captures_add_up_and_authorisations_grow() {
    for story in of(&[Scenario::MultiCapture]) {
        let captures = told(story, "charge.captured");
        let amounts: Vec<_> =
            captures.iter().filter_map(|it| it["amount_captured"].as_i64()).collect();
        assert_eq!(amounts.len(), 3);
        assert!(amounts.is_sorted_by(|a, b| a < b), "{amounts:?}");
        assert_eq!(amounts[2], story.truth.txns[0].captured);
        let proved = story.truth.facts.iter().filter(|fact| fact.kind == "payment.captured");
        assert_eq!(proved.count(), 3);
    }
    for story in of(&[Scenario::IncrementalAuthorization]) {
        let grown = told(story, "payment_intent.amount_capturable_updated");
        let amounts: Vec<_> =
            grown.iter().filter_map(|it| it["amount_capturable"].as_i64()).collect();
        assert!(amounts.len() > 1 && amounts.is_sorted_by(|a, b| a < b), "{amounts:?}");
        assert_eq!(amounts.last(), Some(&story.truth.txns[0].amount));
    }
}

#[test]
fn deletion_shows_in_the_object_or_only_in_the_type() {
    let said: BTreeSet<_> = of(&[Scenario::CustomerDeleted])
        .map(|story| {
            let object = told(story, "customer.deleted")[0].clone();
            assert!(story.truth.deleted.contains(object["id"].as_str().unwrap()));
            object.get("deleted").is_some()
        })
        .collect();
    assert_eq!(said, BTreeSet::from([false, true]));
}

#[test]
fn amounts_fit_their_currency() {
    for (scenario, currency) in [(Scenario::ThreeDecimal, "KWD"), (Scenario::ZeroDecimal, "JPY")] {
        for story in of(&[scenario]) {
            let row = &story.truth.txns[0];
            assert_eq!(row.currency, currency);
            let step = if currency == "KWD" { 10 } else { 1 };
            assert_eq!((row.amount % step, row.refunded % step), (0, 0));
        }
    }
}

#[test]
fn a_dispute_is_withdrawn_at_once_or_later_in_the_same_state() {
    for scenario in [Scenario::DisputeWithdrawnAtOnce, Scenario::DisputeWithdrawnLater] {
        let story = Stripe::new(3, super::START).lifecycle_in(scenario, Shape::Basil);
        let created = told(&story, "charge.dispute.created")[0];
        let withdrawn = told(&story, "charge.dispute.funds_withdrawn")[0];
        let moved = |it: &Value| it["balance_transactions"].as_array().unwrap().len();
        let at_once = scenario == Scenario::DisputeWithdrawnAtOnce;
        assert_eq!((moved(created), moved(withdrawn)), (usize::from(at_once), 1));
        assert_eq!(created["status"], withdrawn["status"]);
    }
}

#[test]
fn what_radar_says_stands_on_the_payment() {
    let mut ends = BTreeSet::new();
    for story in of(&[Scenario::ReviewOpen, Scenario::ReviewClosed]) {
        let review = &story.truth.txns[0].reviews[0];
        let last = told(story, if review.open { "review.opened" } else { "review.closed" })[0];
        assert_eq!(
            (&last["id"], &last["reason"]),
            (&review.id.as_str().into(), &review.reason.into())
        );
        assert_eq!(last["payment_intent"].as_str(), story.truth.txns[0].stripe_pi.as_deref());
        ends.insert(review.reason);
    }
    assert_eq!(ends, BTreeSet::from(["approved", "refunded_as_fraud", "rule"]));
    for story in of(&[Scenario::FraudWarning]) {
        let warning = &story.truth.txns[0].fraud_warnings[0];
        let created = told(story, "radar.early_fraud_warning.created")[0];
        let is_spent = !told(story, "radar.early_fraud_warning.updated").is_empty();
        assert_eq!(created["charge"].as_str(), story.truth.txns[0].stripe_ch.as_deref());
        assert_eq!(warning.actionable, !is_spent);
        assert_eq!(story.truth.txns[0].refunded > 0, is_spent);
    }
}

/// A thin event has no object; what it is about is in `related_object`, if anything is.
#[test]
fn a_thin_event_is_thin() {
    let mut related = BTreeSet::new();
    for story in of(&[Scenario::ThinEvent]) {
        let body = &story.events[0].body;
        assert!(body.get("data").is_none() && body.get("api_version").is_none());
        let created = body["created"].as_str().unwrap();
        let parsed =
            time::OffsetDateTime::parse(created, &time::format_description::well_known::Rfc3339);
        assert_eq!(parsed.unwrap().unix_timestamp(), story.events[0].created, "{created}");
        related.insert(body["related_object"].is_null());
    }
    assert_eq!(related.len(), 2);
}
