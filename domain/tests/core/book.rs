//! The state that records come to, in memory: what the store does in a transaction, without one.

use bytes::Bytes;
use domain::aggregate::{self, States};
use domain::derive::{Providers, derive, named_provider};
use domain::event::{Decoded, Disposition, Rejected, decode};
use domain::fact::Fact;
use domain::object::ObjectKey;
use domain::quote::{Quote, Quotes};
use domain::record::{RawRecord, header};
use domain::row::Rows;
use domain::settings::Settings;
use domain::settlement::settle;
use domain::state::ObjectState;
use lifecycles::Lifecycle;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A record of the raw topic with this body, as ingest writes it.
pub(crate) fn record(body: impl Into<Bytes>) -> RawRecord {
    let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    RawRecord {
        partition: 0,
        offset: 0,
        timestamp_ms: 0,
        key: None,
        headers: vec![(header::SOURCE.to_owned(), text("webhook"))],
        value: Some(body.into()),
    }
}

/// What the core needs of a quote.
fn quote(quote: &lifecycles::Quote) -> Quote {
    Quote {
        quote_id: quote.quote_id.clone(),
        order_id: quote.order_id.clone(),
        provider_id: quote.provider_id.clone(),
        currency: quote.currency.clone(),
        platform_fee_cents: quote.platform_fee,
        tax_cents: quote.tax,
        total_cents: quote.total,
    }
}

/// Everything known after some records.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    settings: Settings,
    seen: HashSet<(String, String, [u8; 32])>,
    states: States,
    facts: BTreeMap<String, Fact>,
    providers: Providers,
    quotes: Quotes,
}

impl Book {
    pub(crate) fn new(livemode: bool) -> Self {
        Self {
            settings: Settings::new(livemode),
            seen: HashSet::new(),
            states: States::new(),
            facts: BTreeMap::new(),
            providers: Providers::new(),
            quotes: Quotes::default(),
        }
    }

    /// Gives it the inputs of these lifecycles, which somebody else writes.
    pub(crate) fn know<'a>(&mut self, lives: impl IntoIterator<Item = &'a Lifecycle>) {
        let mut quotes = Vec::new();
        for life in lives {
            let links =
                life.providers.iter().map(|(user, account)| (account.clone(), user.clone()));
            self.providers.extend(links);
            quotes.extend(life.quotes.iter().map(quote));
        }
        self.quotes = quotes.into_iter().collect();
    }

    /// Takes in one record, and says what it was.
    pub(crate) fn take(&mut self, body: impl Into<Bytes>) -> Result<Decoded, Rejected> {
        let decoded = decode(&record(body), &self.settings)?;
        let event = &decoded.event;
        let is_new = self.seen.insert((event.id.clone(), event.account.clone(), event.data_hash));
        if is_new && decoded.disposition != Disposition::WrongLivemode {
            for said in &decoded.objects {
                let known = self.states.remove(&said.key);
                let known = known.unwrap_or_else(|| ObjectState::named(said.key.clone()));
                self.states.insert(said.key.clone(), known.join(said.clone()));
            }
            for fact in &decoded.facts {
                let kept = self.facts.entry(fact.fact_id.clone()).or_insert_with(|| fact.clone());
                if fact.precedes(kept) {
                    *kept = fact.clone();
                }
            }
        }
        Ok(decoded)
    }

    /// All rows, each kind sorted by its id.
    pub(crate) fn rows(&self) -> Rows {
        let mut rows = Rows::default();
        let mut providers: Providers = self
            .states
            .values()
            .filter_map(|state| {
                Some((state.key.id.clone(), named_provider(state, &self.settings)?))
            })
            .collect();
        providers.extend(self.providers.clone());
        for component in aggregate::components(&self.states) {
            rows.extend(derive(&component, &providers, &self.settings).unwrap());
        }
        settle(&mut rows, &self.quotes, &[], &self.settings);
        rows.targets.retain(|target| !target.balances.is_empty());
        rows.targets.sort_by(|a, b| a.subject.cmp(&b.subject));
        rows.invoices.sort_by(|a, b| a.invoice_id.cmp(&b.invoice_id));
        rows.invoice_payments.sort_by(|a, b| {
            (&a.invoice_id, &a.stripe_payment).cmp(&(&b.invoice_id, &b.stripe_payment))
        });
        rows.discrepancies.sort();
        rows.txns.sort_by(|a, b| a.txn_id.cmp(&b.txn_id));
        rows.refunds.sort_by(|a, b| a.refund_id.cmp(&b.refund_id));
        rows.disputes.sort_by(|a, b| a.dispute_id.cmp(&b.dispute_id));
        rows.payouts.sort_by(|a, b| a.payout_id.cmp(&b.payout_id));
        rows.providers.sort_by(|a, b| a.stripe_acct.cmp(&b.stripe_acct));
        rows.held.sort();
        rows
    }

    /// The facts that the aggregates bear out.
    pub(crate) fn facts(&self) -> Vec<Fact> {
        let borne_out: BTreeSet<ObjectKey> =
            self.rows().held.into_iter().filter(|(_, held)| !held).map(|(key, _)| key).collect();
        let is_borne_out = |fact: &&Fact| {
            !fact.held || borne_out.contains(&ObjectKey::new(&fact.account, &fact.object_id))
        };
        self.facts.values().filter(is_borne_out).cloned().collect()
    }

    /// The states, for comparison.
    pub(crate) fn states(&self) -> &States {
        &self.states
    }
}
