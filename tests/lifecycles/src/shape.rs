//! The API versions whose shapes the model speaks.

/// The API version that shapes an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// `2020-08-27`: an intent nests its charges, a charge nests its refunds, and a refund speaks
    /// through its charge.
    Nested,
    /// `2022-11-15`: an intent names its latest charge. A charge no longer shows its refunds, and a
    /// refund speaks only when it changes (`charge.refund.updated`).
    Linked,
    /// `2025-03-31.basil`: refunds speak for themselves (`refund.*`), and invoices name their
    /// payments only in objects of their own (`invoice_payment.*`).
    Basil,
    /// `2026-07-29.dahlia`: as basil, with what newer versions add.
    Flat,
}

impl Shape {
    /// Every shape, oldest first.
    pub const ALL: [Self; 4] = [Self::Nested, Self::Linked, Self::Basil, Self::Flat];
    /// The shapes in which an invoice has payments of its own.
    pub(crate) const SINCE_BASIL: [Self; 2] = [Self::Basil, Self::Flat];

    /// Stripe's name of the version.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Nested => "2020-08-27",
            Self::Linked => "2022-11-15",
            Self::Basil => "2025-03-31.basil",
            Self::Flat => "2026-07-29.dahlia",
        }
    }

    /// Intents hold their charges, and charges their refunds (until 2022-11-15).
    pub(crate) fn nests(self) -> bool {
        self == Self::Nested
    }

    /// Every refund speaks as `refund.*` (since 2024-10-28.acacia).
    pub(crate) fn has_refund_events(self) -> bool {
        self >= Self::Basil
    }

    /// The balance transaction comes after the capture (default since 2024-04-10).
    pub(crate) fn captures_async(self) -> bool {
        self >= Self::Basil
    }

    /// Invoices are linked to payments by `invoice_payment` objects only (since 2025-03-31.basil).
    pub(crate) fn has_invoice_payments(self) -> bool {
        self >= Self::Basil
    }
}
