//! The ledger: double entry, per currency, each entry zero-sum.
//!
//! For each subject (a payment's capture, a refund, a dispute, …) the newest snapshots determine
//! the *target*: what its postings must add up to. What is written is the difference between the
//! target and what is posted already, so a correction is an entry like any other, and the balance
//! of a subject is a function of the state whatever order the records came in. docs/LEDGER.md has
//! each rule with an example.

use std::collections::BTreeMap;

/// An account of the ledger. A closed set: the names are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Money at Stripe whose balance transactions are not known yet.
    StripeClearing,
    /// Money of customers that is not yet somebody's.
    Unallocated,
    /// The platform's income from payments; the profile merchant has it in place of unallocated.
    Revenue,
    /// The platform's fees.
    PlatformFees,
    /// Tax that is owed.
    TaxPayable,
    /// What is owed to a provider.
    ProviderPayable,
    /// Money that disputes hold.
    DisputeHold,
    /// What Stripe takes for disputes.
    DisputeFees,
    /// What lost disputes cost.
    DisputeLosses,
    /// Payouts on their way to the platform's bank.
    PayoutsInTransit,
    /// The platform's bank account.
    Bank,
}

impl Account {
    /// Every account.
    pub const ALL: [Self; 11] = [
        Self::StripeClearing,
        Self::Unallocated,
        Self::Revenue,
        Self::PlatformFees,
        Self::TaxPayable,
        Self::ProviderPayable,
        Self::DisputeHold,
        Self::DisputeFees,
        Self::DisputeLosses,
        Self::PayoutsInTransit,
        Self::Bank,
    ];

    /// The value in `pay.ledger_posting.ledger_account`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StripeClearing => "stripe_clearing",
            Self::Unallocated => "unallocated",
            Self::Revenue => "revenue",
            Self::PlatformFees => "platform_fees",
            Self::TaxPayable => "tax_payable",
            Self::ProviderPayable => "provider_payable",
            Self::DisputeHold => "dispute_hold",
            Self::DisputeFees => "dispute_fees",
            Self::DisputeLosses => "dispute_losses",
            Self::PayoutsInTransit => "payouts_in_transit",
            Self::Bank => "bank",
        }
    }
}

/// What kind of thing moves money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// What a payment captured; named by its intent, else by its charge.
    Capture,
    /// To whom captured money belongs; named like the capture.
    Allocation,
    /// A refund of captured money.
    Refund,
    /// Refunds that only their charge tells of; named by the charge.
    RefundsUnnamed,
    /// A platform's fee on a payment of a connected account.
    ApplicationFee,
    /// A dispute.
    Dispute,
    /// A transfer to a connected account.
    Transfer,
    /// A payout of the platform.
    Payout,
}

impl SubjectKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Capture,
        Self::Allocation,
        Self::Refund,
        Self::RefundsUnnamed,
        Self::ApplicationFee,
        Self::Dispute,
        Self::Transfer,
        Self::Payout,
    ];

    /// The value in `pay.ledger_entry.subject_kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Allocation => "allocation",
            Self::Refund => "refund",
            Self::RefundsUnnamed => "refunds_unnamed",
            Self::ApplicationFee => "application_fee",
            Self::Dispute => "dispute",
            Self::Transfer => "transfer",
            Self::Payout => "payout",
        }
    }

    /// The kind of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What postings belong to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Stripe account that owns it; empty when unknown.
    pub account: String,
    /// Stripe id.
    pub id: String,
    /// What it is.
    pub kind: SubjectKind,
}

impl Subject {
    /// The subject of this kind with this Stripe id in this account.
    pub fn new(kind: SubjectKind, account: &str, id: &str) -> Self {
        Self { account: account.to_owned(), id: id.to_owned(), kind }
    }
}

/// One line of a balance: in a currency (ISO 4217, upper case), an account of the ledger, and whom
/// it is owed to (a provider; empty for accounts that belong to nobody in particular).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// ISO 4217, upper case.
    pub currency: String,
    /// Account of the ledger, by its name.
    pub account: &'static str,
    /// Provider, for `provider_payable`; else empty.
    pub party: String,
}

/// Balances of one subject, in minor units: debit is positive, credit negative.
pub type Balances = BTreeMap<Line, i64>;

/// What the postings of a subject must add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What it is about.
    pub subject: Subject,
    /// Stripe's time at which it began to move money, Unix seconds.
    pub since: i64,
    /// Stripe's time of the record that shows it as it is now, Unix seconds.
    pub as_of: i64,
    /// The sums; none where nothing is left.
    pub balances: Balances,
}

impl Target {
    /// A subject that moves nothing. One that is not named at all is taken for such.
    pub fn nothing(subject: Subject, as_of: i64) -> Self {
        Self { subject, since: as_of, as_of, balances: Balances::new() }
    }

    /// The same, of something that began at another time than that of its newest record.
    pub fn begun(subject: Subject, since: i64, as_of: i64) -> Self {
        Self { since, ..Self::nothing(subject, as_of) }
    }

    /// Moves an amount, in minor units, from one account to another: debits `to`, credits `from`.
    /// Nothing for a zero amount; a negative one goes the other way.
    pub fn moves(&mut self, currency: &str, amount: i64, from: Account, to: Account) {
        self.posts(currency, to, "", amount);
        self.posts(currency, from, "", amount.saturating_neg());
    }

    /// Adds to one line. Whoever calls keeps the sum of each currency at zero.
    pub fn posts(&mut self, currency: &str, account: Account, party: &str, amount: i64) {
        if amount == 0 {
            return;
        }
        let line = Line {
            currency: currency.to_owned(),
            account: account.as_str(),
            party: party.to_owned(),
        };
        let sum = self.balances.entry(line.clone()).or_default();
        *sum = sum.saturating_add(amount);
        if *sum == 0 {
            self.balances.remove(&line);
        }
    }
}

/// An entry that brings a subject from what is posted to its target, in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub subject: Subject,
    /// ISO 4217, upper case.
    pub currency: String,
    /// Stripe's time of what it books, Unix seconds.
    pub effective_at: i64,
    /// Account, party and amount of each posting; debit is positive. They add up to zero.
    pub postings: Vec<(&'static str, String, i64)>,
}

/// The entries that are missing. None where the postings say already what they must.
pub fn entries(target: &Target, posted: &Balances) -> Vec<Entry> {
    let mut missing: BTreeMap<&str, Vec<(&'static str, String, i64)>> = BTreeMap::new();
    let lines =
        target.balances.keys().chain(posted.keys()).collect::<std::collections::BTreeSet<_>>();
    for line in lines {
        let sum = |balances: &Balances| balances.get(line).copied().unwrap_or_default();
        let difference = sum(&target.balances).saturating_sub(sum(posted));
        if difference != 0 {
            let posting = (line.account, line.party.clone(), difference);
            missing.entry(&line.currency).or_default().push(posting);
        }
    }
    let effective_at = if posted.is_empty() { target.since } else { target.as_of };
    missing
        .into_iter()
        .map(|(currency, postings)| Entry {
            subject: target.subject.clone(),
            currency: currency.to_owned(),
            effective_at,
            postings,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(amounts: &[(Account, Account, i64)]) -> Target {
        let mut target = Target::nothing(Subject::new(SubjectKind::Capture, "", "pi_1"), 10);
        for (from, to, amount) in amounts {
            target.moves("USD", *amount, *from, *to);
        }
        target
    }

    fn apply(posted: &mut Balances, entries: &[Entry]) {
        for entry in entries {
            for (account, party, amount) in &entry.postings {
                let line = Line { currency: entry.currency.clone(), account, party: party.clone() };
                *posted.entry(line).or_default() += amount;
            }
        }
        posted.retain(|_, sum| *sum != 0);
    }

    fn movement() -> impl Strategy<Value = (Account, Account, i64)> {
        (0..Account::ALL.len(), 0..Account::ALL.len(), -500..500_i64)
            .prop_map(|(from, to, amount)| (Account::ALL[from], Account::ALL[to], amount))
    }

    proptest! {
        /// Whatever targets come one after another, the postings end at the last, and every entry
        /// adds up to zero.
        #[test]
        fn differences_lead_to_the_last_target(
            steps in prop::collection::vec(prop::collection::vec(movement(), 0..4), 1..6),
        ) {
            let mut posted = Balances::new();
            for step in &steps {
                let target = target(step);
                let entries = entries(&target, &posted);
                for entry in &entries {
                    prop_assert_eq!(entry.postings.iter().map(|(.., amount)| amount).sum::<i64>(), 0);
                    prop_assert!(entry.postings.len() >= 2);
                }
                apply(&mut posted, &entries);
                prop_assert_eq!(&posted, &target.balances);
                prop_assert!(super::entries(&target, &posted).is_empty());
            }
        }
    }

    #[test]
    fn a_first_entry_has_the_time_of_the_movement_and_a_correction_that_of_its_record() {
        let mut target = target(&[(Account::Unallocated, Account::StripeClearing, 100)]);
        (target.since, target.as_of) = (5, 9);
        assert_eq!(entries(&target, &Balances::new())[0].effective_at, 5);
        let posted = std::mem::take(&mut target.balances);
        assert_eq!(entries(&target, &posted)[0].effective_at, 9);
    }
}
