//! What the core is told about its surroundings.

use std::collections::BTreeSet;

/// Names of our keys in Stripe's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataKeys {
    /// Key that holds our quote.
    pub quote_id: String,
    /// Key that holds our order.
    pub order_id: String,
    /// Key that holds our provider.
    pub provider_id: String,
    /// Key that says who asked for a refund.
    pub created_by: String,
}

impl Default for MetadataKeys {
    fn default() -> Self {
        Self {
            quote_id: "quote_id".to_owned(),
            order_id: "order_id".to_owned(),
            provider_id: "provider_id".to_owned(),
            created_by: "created_by".to_owned(),
        }
    }
}

/// Whose money it is that comes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// A marketplace: payments have quotes, and most of the money is for providers.
    #[default]
    Marketplace,
    /// A merchant without quotes and providers: what comes in is revenue.
    Merchant,
}

/// Settings of decoding and deriving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which kind of events is projected; the other kind is recorded only.
    pub livemode: bool,
    /// Whose money it is that comes in.
    pub profile: Profile,
    /// The platform's own Stripe accounts: objects of others belong to connected accounts.
    pub platforms: BTreeSet<String>,
    /// Names of our keys in Stripe's metadata.
    pub keys: MetadataKeys,
    /// Largest record value that is decoded, bytes; a larger one is quarantined.
    pub max_value_bytes: usize,
}

impl Settings {
    /// Default of [`Settings::max_value_bytes`]: ingest takes bodies of 1 MiB by default.
    pub const MAX_VALUE_BYTES: usize = 4 * 1024 * 1024;

    /// The defaults, for live or for test events.
    pub fn new(livemode: bool) -> Self {
        Self {
            livemode,
            profile: Profile::default(),
            platforms: BTreeSet::new(),
            keys: MetadataKeys::default(),
            max_value_bytes: Self::MAX_VALUE_BYTES,
        }
    }
}
