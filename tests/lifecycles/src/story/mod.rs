//! How each story goes, and what it must come to.

mod card;
mod connect;
mod debit;
mod dispute;
mod invoice;
mod payout;
mod quote;
mod refund;

use crate::Scenario;
use crate::other;
use crate::payout as old;
use crate::script::Script;

impl Scenario {
    pub(crate) fn play(self, script: &mut Script<'_>) {
        match self {
            Self::RefundFailed
            | Self::RefundSettled
            | Self::RefundPending
            | Self::RefundCanceled
            | Self::PartlyRefunded
            | Self::FullyRefunded
            | Self::ChargeOnlyRefunded
            | Self::ChargeOnlyPartlyRefunded => refund::play(self, script),
            Self::BankDebitPaid
            | Self::BankDebitProcessing
            | Self::BankDebitFailed
            | Self::SepaDebitPaid
            | Self::SepaDebitProcessing
            | Self::SepaDebitFailed
            | Self::SepaDebitReturned => debit::play(self, script),
            Self::DisputeOpen
            | Self::DisputeWithdrawnAtOnce
            | Self::DisputeWithdrawnLater
            | Self::DisputeLost
            | Self::DisputeWon
            | Self::DisputeLostThenWon
            | Self::DisputePrevented
            | Self::SeveralDisputes
            | Self::Inquiry
            | Self::InquiryEscalated => dispute::play(self, script),
            Self::Transfer
            | Self::TransferPartlyReversed
            | Self::TransferReversed
            | Self::SeparateTransfer
            | Self::DestinationCharge
            | Self::DestinationChargeWhole
            | Self::DestinationChargeAmount
            | Self::DestinationChargeRefunded
            | Self::DirectCharge
            | Self::DirectChargeRefunded
            | Self::DirectChargeDisputed
            | Self::AccountRestricted
            | Self::AccountActive
            | Self::AccountDeauthorized
            | Self::AccountReauthorized => connect::play(self, script),
            Self::PayoutPaid
            | Self::PayoutFailed
            | Self::PayoutPaidThenFailed
            | Self::PayoutCanceled
            | Self::PlatformPayout
            | Self::PlatformPayoutInTransit
            | Self::PlatformPayoutReconciled
            | Self::PlatformPayoutFailed
            | Self::PlatformPayoutPaidThenFailed
            | Self::PlatformPayoutCanceled
            | Self::PlatformPayoutNegative => payout::play(self, script),
            Self::LegacyTransfer => {
                let arrives = script.rng().coin();
                old::of_old(script, arrives);
            }
            Self::Quoted
            | Self::QuotedRefunded
            | Self::QuotedByCharge
            | Self::QuotedBySession
            | Self::QuotedByOrder
            | Self::DepositAndRest
            | Self::DepositAndRestRefunded
            | Self::QuoteOtherCurrency
            | Self::QuoteAmbiguous
            | Self::CheckoutAsync
            | Self::CheckoutExpired => quote::play(self, script),
            Self::InvoicePaid
            | Self::InvoicePaidInParts
            | Self::InvoiceDraft
            | Self::InvoiceVoided
            | Self::InvoiceUncollectible => invoice::play(self, script),
            Self::CustomerDeleted => other::customer_deleted(script),
            Self::ThinEvent => other::thin(script),
            Self::Unmodelled => other::unmodelled(script),
            _ => card::play(self, script),
        }
    }
}

/// A currency with two decimals.
fn usual_currency(script: &mut Script<'_>) -> &'static str {
    script.rng().pick(&["usd", "usd", "eur", "gbp"])
}
