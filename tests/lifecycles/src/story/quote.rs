//! Quotes: how a payment finds its own, and several payments of one.

use crate::checkout::Session;
use crate::payment::{Payment, usual_amount};
use crate::quote::Links;
use crate::script::Script;
use crate::{Quote, Scenario};

pub(super) fn play(scenario: Scenario, script: &mut Script<'_>) {
    let currency = super::usual_currency(script);
    let total = usual_amount(script, currency);
    let mut quote = Quote::over(script, currency, total);
    match scenario {
        Scenario::DepositAndRest | Scenario::DepositAndRestRefunded => {
            deposit_and_rest(scenario, script, currency, quote);
        }
        Scenario::QuotedBySession => by_session(script, currency, quote),
        Scenario::QuotedByCharge => {
            let links = links(script, &quote);
            script.quotes.push(quote);
            let payment = &mut Payment::of(script, currency, total, Links::default());
            payment.open(false);
            payment.pay();
            payment.label_charge(links);
            payment.is("captured", total, 0);
        }
        Scenario::QuotedByOrder => by_order(script, currency, quote),
        Scenario::CheckoutAsync => checkout_async(script, quote),
        Scenario::CheckoutExpired => expired(script, currency, quote),
        Scenario::QuoteOtherCurrency => {
            "CHF".clone_into(&mut quote.currency);
            whole(scenario, script, currency, quote);
        }
        Scenario::QuoteAmbiguous => {
            let order_id = Some(script.id("ord"));
            quote.order_id.clone_from(&order_id);
            let other =
                Quote { order_id: order_id.clone(), ..Quote::over(script, currency, total) };
            script.quotes.extend([quote, other]);
            let links = Links { order: order_id, ..Links::default() };
            paid(script, currency, total, links);
        }
        _ => whole(scenario, script, currency, quote),
    }
}

/// What the metadata of a quote's payment says.
fn links(script: &mut Script<'_>, quote: &Quote) -> Links {
    Links {
        quote: Some(quote.quote_id.clone()),
        order: quote.order_id.clone(),
        provider: script.rng().coin().then(|| quote.provider_id.clone()),
    }
}

fn whole(scenario: Scenario, script: &mut Script<'_>, currency: &'static str, quote: Quote) {
    let (links, total) = (links(script, &quote), quote.total);
    script.quotes.push(quote);
    if scenario != Scenario::QuotedRefunded {
        paid(script, currency, total, links);
        return;
    }
    let payment = &mut Payment::of(script, currency, total, links);
    payment.open(false);
    payment.pay();
    let all = payment.script.rng().coin();
    let refunded = if all { total } else { total / 3 };
    payment.refund(refunded, "succeeded");
    payment.is(if all { "refunded" } else { "captured" }, total, refunded);
    payment.refund_is(0, "succeeded");
}

fn paid(script: &mut Script<'_>, currency: &'static str, amount: i64, links: Links) {
    let payment = &mut Payment::of(script, currency, amount, links);
    payment.open(false);
    payment.pay();
    payment.is("captured", amount, 0);
}

/// Only the session knows, by its metadata or its `client_reference_id`.
fn by_session(script: &mut Script<'_>, currency: &'static str, quote: Quote) {
    let links = links(script, &quote);
    let total = quote.total;
    let (session, known) = if script.rng().coin() {
        (Session::begin(script, &links, None), links)
    } else {
        let id = quote.quote_id.clone();
        let known = Links { quote: Some(id.clone()), ..Links::default() };
        (Session::begin(script, &Links::default(), Some(id)), known)
    };
    script.quotes.push(quote);
    through(&session, script, currency, total, known);
}

/// The payment or its session names an order, and the quote has that order.
fn by_order(script: &mut Script<'_>, currency: &'static str, mut quote: Quote) {
    let order = script.id("ord");
    let total = quote.total;
    quote.order_id = Some(order.clone());
    script.quotes.push(quote);
    let links = Links { order: Some(order.clone()), ..Links::default() };
    if script.rng().coin() {
        paid(script, currency, total, links);
        return;
    }
    let session = Session::begin(script, &Links::default(), Some(order));
    through(&session, script, currency, total, links);
}

/// A payment without metadata whose session tells these links.
fn through(
    session: &Session,
    script: &mut Script<'_>,
    currency: &'static str,
    amount: i64,
    links: Links,
) {
    let payment = &mut Payment::of(script, currency, amount, Links::default());
    payment.links = links;
    payment.open(false);
    payment.pay();
    session.complete(payment);
    payment.is("captured", amount, 0);
}

/// A session paid by bank debit: complete at once, paid days later.
fn checkout_async(script: &mut Script<'_>, mut quote: Quote) {
    "EUR".clone_into(&mut quote.currency);
    let (links, total) = (links(script, &quote), quote.total);
    script.quotes.push(quote);
    let session = Session::begin(script, &links, None);
    let payment = &mut Payment::of(script, "eur", total, Links::default());
    payment.links = links;
    payment.open(false);
    payment.start_bank_debit("sepa_debit");
    session.complete(payment);
    payment.settle_bank_debit((5, 14), true);
    session.is_paid_late(payment);
    payment.is("captured", total, 0);
}

/// Nobody pays. Since 2022-08-01 a session has no intent until somebody tries.
fn expired(script: &mut Script<'_>, currency: &'static str, quote: Quote) {
    let (links, total) = (links(script, &quote), quote.total);
    script.quotes.push(quote);
    let session = Session::begin(script, &links, None);
    let has_intent = script.shape.nests();
    let payment = &mut Payment::of(script, currency, total, Links::default());
    payment.links = links;
    if has_intent {
        payment.open_now(false);
    }
    session.expire(payment);
    if has_intent {
        payment.is("canceled", 0, 0);
    }
}

/// A deposit first, the rest later, of one quote whose fee and tax do not divide evenly.
fn deposit_and_rest(
    scenario: Scenario,
    script: &mut Script<'_>,
    currency: &'static str,
    mut quote: Quote,
) {
    quote.deposit = script.rng().between(1, quote.total - 1);
    if script.rng().coin() {
        quote.order_id = Some(script.id("ord"));
    }
    let rest = quote.total - quote.deposit;
    let (is_refunded, which) =
        (scenario == Scenario::DepositAndRestRefunded, script.rng().between(0, 2));
    let parts = [(quote.deposit, is_refunded && which != 1), (rest, is_refunded && which != 0)];
    script.quotes.push(quote.clone());
    for (amount, is_refunded) in parts {
        // Created in different seconds: their order is the order of their shares.
        script.request_after((60, 90_000));
        let mut links = links(script, &quote);
        if links.order.is_some() && script.rng().coin() {
            links.quote = None;
        }
        let payment = &mut Payment::of(script, currency, amount, links);
        payment.open(false);
        payment.pay();
        if !is_refunded {
            payment.is("captured", amount, 0);
            continue;
        }
        let part = payment.script.rng().between(1, amount);
        payment.refund(part, "succeeded");
        payment.is(if part == amount { "refunded" } else { "captured" }, amount, part);
        payment.refund_is(0, "succeeded");
    }
}
