//! The stories that there are, by name.

use crate::Shape;
use std::fmt;
use std::str::FromStr;

/// Declares the scenarios with their names and meanings once.
macro_rules! scenarios {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A story that Stripe can tell.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Scenario {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Scenario {
            /// All stories.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name that commands take.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What happens, in one line.
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

scenarios! {
    /// Charged and captured at once.
    Paid = "paid",
    /// The customer authenticates first, then pays.
    PaidAfterAction = "paid_after_action",
    /// Authorised, captured later.
    AuthorizedCaptured = "authorized_captured",
    /// Authorised and not yet captured.
    Authorized = "authorized",
    /// Authorised, then canceled or expired.
    AuthorizedReleased = "authorized_released",
    /// A part is captured, the rest released.
    PartialCapture = "partial_capture",
    /// A part is captured, and of it a part or all refunded.
    PartialCaptureRefunded = "partial_capture_refunded",
    /// Captured in several steps.
    MultiCapture = "multi_capture",
    /// A part is captured, and the rest stays authorised.
    MultiCaptureOpen = "multi_capture_open",
    /// The authorisation grows before it is captured.
    IncrementalAuthorization = "incremental_authorization",
    /// Attempts fail, then one succeeds.
    FailedThenPaid = "failed_then_paid",
    /// The only attempt fails.
    Failed = "failed",
    /// Opened and left.
    NeverPaid = "never_paid",
    /// Opened and canceled.
    Canceled = "canceled",
    /// A part is refunded.
    PartlyRefunded = "partly_refunded",
    /// Refunded in two parts.
    FullyRefunded = "fully_refunded",
    /// A refund succeeds and fails days later.
    RefundFailed = "refund_failed",
    /// A refund waits and succeeds.
    RefundSettled = "refund_settled",
    /// A refund waits.
    RefundPending = "refund_pending",
    /// A refund waits and is canceled.
    RefundCanceled = "refund_canceled",
    /// A bank debit that the bank pays.
    BankDebitPaid = "bank_debit_paid",
    /// A bank debit that is under way.
    BankDebitProcessing = "bank_debit_processing",
    /// A bank debit that the bank refuses.
    BankDebitFailed = "bank_debit_failed",
    /// A SEPA debit that is paid after many days.
    SepaDebitPaid = "sepa_debit_paid",
    /// A SEPA debit that is under way.
    SepaDebitProcessing = "sepa_debit_processing",
    /// A SEPA debit that fails after many days.
    SepaDebitFailed = "sepa_debit_failed",
    /// A SEPA debit that is paid and weeks later returned: a dispute lost at once.
    SepaDebitReturned = "sepa_debit_returned",
    /// Disputed and not yet answered.
    DisputeOpen = "dispute_open",
    /// Disputed: the first event already shows the money withdrawn.
    DisputeWithdrawnAtOnce = "dispute_withdrawn_at_once",
    /// Disputed: the same state shows the money withdrawn later.
    DisputeWithdrawnLater = "dispute_withdrawn_later",
    /// Disputed and lost.
    DisputeLost = "dispute_lost",
    /// Disputed and won, with the money back.
    DisputeWon = "dispute_won",
    /// Disputed and lost, and in the end won.
    DisputeLostThenWon = "dispute_lost_then_won",
    /// Disputed, and prevented at once: no money moves.
    DisputePrevented = "dispute_prevented",
    /// Two disputes of one charge, one of them lost.
    SeveralDisputes = "several_disputes",
    /// An inquiry that closes without a dispute.
    Inquiry = "inquiry",
    /// An inquiry that becomes a dispute.
    InquiryEscalated = "inquiry_escalated",
    /// Held for review by Radar.
    ReviewOpen = "review_open",
    /// Held for review, then approved or refunded as fraud.
    ReviewClosed = "review_closed",
    /// A card network warns of fraud.
    FraudWarning = "fraud_warning",
    /// Money goes to a connected account.
    Transfer = "transfer",
    /// A part of a transfer comes back.
    TransferPartlyReversed = "transfer_partly_reversed",
    /// All of a transfer comes back, in two parts.
    TransferReversed = "transfer_reversed",
    /// The platform charges, and later hands a part on.
    SeparateTransfer = "separate_transfer",
    /// Charged for a connected account, less an application fee.
    DestinationCharge = "destination_charge",
    /// Charged for a connected account, all of it.
    DestinationChargeWhole = "destination_charge_whole",
    /// Charged for a connected account, which gets a set amount.
    DestinationChargeAmount = "destination_charge_amount",
    /// Charged for a connected account and refunded, perhaps with transfer and fee.
    DestinationChargeRefunded = "destination_charge_refunded",
    /// A connected account charges, and the platform takes a fee.
    DirectCharge = "direct_charge",
    /// A connected account refunds a part, and the platform a part of its fee.
    DirectChargeRefunded = "direct_charge_refunded",
    /// A connected account's charge is disputed.
    DirectChargeDisputed = "direct_charge_disputed",
    /// A connected account's payout is paid.
    PayoutPaid = "payout_paid",
    /// A connected account's payout fails.
    PayoutFailed = "payout_failed",
    /// A connected account's payout fails after it was called paid.
    PayoutPaidThenFailed = "payout_paid_then_failed",
    /// A connected account's payout is canceled.
    PayoutCanceled = "payout_canceled",
    /// The platform's own payout is paid.
    PlatformPayout = "platform_payout",
    /// The platform's own payout is under way.
    PlatformPayoutInTransit = "platform_payout_in_transit",
    /// The platform's own payout is paid, and its balance transactions are worked out.
    PlatformPayoutReconciled = "platform_payout_reconciled",
    /// The platform's own payout fails.
    PlatformPayoutFailed = "platform_payout_failed",
    /// The platform's own payout fails after it was called paid.
    PlatformPayoutPaidThenFailed = "platform_payout_paid_then_failed",
    /// The platform's own payout is canceled.
    PlatformPayoutCanceled = "platform_payout_canceled",
    /// Stripe draws from the platform's bank account.
    PlatformPayoutNegative = "platform_payout_negative",
    /// A payout of the days when payouts were transfers.
    LegacyTransfer = "legacy_transfer",
    /// A connected account signs up, becomes active, is restricted.
    AccountRestricted = "account_restricted",
    /// A connected account becomes active.
    AccountActive = "account_active",
    /// A connected account leaves the platform.
    AccountDeauthorized = "account_deauthorized",
    /// A connected account leaves the platform and comes back.
    AccountReauthorized = "account_reauthorized",
    /// A charge without an intent.
    ChargeOnly = "charge_only",
    /// A charge without an intent, refunded.
    ChargeOnlyRefunded = "charge_only_refunded",
    /// A charge without an intent, refunded in part.
    ChargeOnlyPartlyRefunded = "charge_only_partly_refunded",
    /// A charge without an intent, never captured.
    ChargeOnlyExpired = "charge_only_expired",
    /// A charge without an intent, declined.
    ChargeOnlyFailed = "charge_only_failed",
    /// Paid in a currency without minor units.
    ZeroDecimal = "zero_decimal",
    /// Paid and refunded in part in a currency with three decimals.
    ThreeDecimal = "three_decimal",
    /// Paid for a quote that the payment names.
    Quoted = "quoted",
    /// Paid for a quote, and refunded.
    QuotedRefunded = "quoted_refunded",
    /// Paid for a quote that only the charge names, afterwards.
    QuotedByCharge = "quoted_by_charge",
    /// Paid for a quote that only the checkout session names.
    QuotedBySession = "quoted_by_session",
    /// Paid for a quote that is found by its order.
    QuotedByOrder = "quoted_by_order",
    /// A deposit and the rest, two payments of one quote.
    DepositAndRest = "deposit_and_rest",
    /// A deposit and the rest, of which one or both are refunded.
    DepositAndRestRefunded = "deposit_and_rest_refunded",
    /// Paid in another currency than the quote's.
    QuoteOtherCurrency = "quote_other_currency",
    /// Paid for an order that has two quotes.
    QuoteAmbiguous = "quote_ambiguous",
    /// A checkout session paid by bank debit.
    CheckoutAsync = "checkout_async",
    /// A checkout session that nobody pays.
    CheckoutExpired = "checkout_expired",
    /// An invoice paid at once.
    InvoicePaid = "invoice_paid",
    /// An invoice paid by two payments.
    InvoicePaidInParts = "invoice_paid_in_parts",
    /// An invoice that is not yet a bill.
    InvoiceDraft = "invoice_draft",
    /// An invoice that is withdrawn.
    InvoiceVoided = "invoice_voided",
    /// An invoice that nobody pays.
    InvoiceUncollectible = "invoice_uncollectible",
    /// A customer that is deleted.
    CustomerDeleted = "customer_deleted",
    /// A thin event of the v2 API.
    ThinEvent = "thin_event",
    /// Events that are recorded only.
    Unmodelled = "unmodelled",
}

impl Scenario {
    /// The API versions that have this story, oldest first.
    pub fn shapes(self) -> &'static [Shape] {
        match self {
            Self::InvoicePaidInParts | Self::DisputePrevented | Self::ThinEvent => {
                &Shape::SINCE_BASIL
            }
            // Its event says 2016, whatever the version of today.
            Self::LegacyTransfer => &[Shape::Nested],
            _ => &Shape::ALL,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No scenario has this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownScenario(pub String);

impl fmt::Display for UnknownScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Scenario::ALL.iter().map(|scenario| scenario.name()).collect();
        write!(f, "unknown scenario `{}`; there are: {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownScenario {}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|scenario| scenario.name() == name);
        found.copied().ok_or_else(|| UnknownScenario(name.to_owned()))
    }
}
