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
    /// Disputed and not yet answered.
    DisputeOpen = "dispute_open",
    /// Disputed and lost.
    DisputeLost = "dispute_lost",
    /// Disputed and won, with the money back.
    DisputeWon = "dispute_won",
    /// An inquiry that closes without a dispute.
    Inquiry = "inquiry",
    /// Money goes to a connected account.
    Transfer = "transfer",
    /// A part of a transfer comes back.
    TransferPartlyReversed = "transfer_partly_reversed",
    /// All of a transfer comes back, in two parts.
    TransferReversed = "transfer_reversed",
    /// A connected account's payout is paid.
    PayoutPaid = "payout_paid",
    /// A connected account's payout fails.
    PayoutFailed = "payout_failed",
    /// A connected account's payout fails after it was called paid.
    PayoutPaidThenFailed = "payout_paid_then_failed",
    /// The platform's own payout is paid.
    PlatformPayout = "platform_payout",
    /// A connected account signs up, becomes active, is restricted.
    AccountRestricted = "account_restricted",
    /// A connected account becomes active.
    AccountActive = "account_active",
    /// A connected account leaves the platform.
    AccountDeauthorized = "account_deauthorized",
    /// A charge without an intent.
    ChargeOnly = "charge_only",
    /// A charge without an intent, refunded.
    ChargeOnlyRefunded = "charge_only_refunded",
    /// A charge without an intent, never captured.
    ChargeOnlyExpired = "charge_only_expired",
    /// A charge without an intent, declined.
    ChargeOnlyFailed = "charge_only_failed",
    /// Paid in a currency without minor units.
    ZeroDecimal = "zero_decimal",
    /// Events that are recorded only.
    Unmodelled = "unmodelled",
}

impl Scenario {
    /// The API versions that have this story, oldest first.
    pub fn shapes(self) -> &'static [Shape] {
        &Shape::ALL
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
