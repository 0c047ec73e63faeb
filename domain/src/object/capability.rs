//! Capabilities of connected accounts: <https://docs.stripe.com/api/capabilities/object>.
//!
//! Their ids (`transfers`, `card_payments`) are unique within their account only.

use super::{Context, Kind, Reading, ids};
use crate::json::{Doc, Malformed};
use crate::order::Standing;

pub(super) const KIND: Kind = Kind { name: NAME, read };

/// The name of this kind.
pub const NAME: &str = "capability";

fn read(doc: Doc<'_>, _: &Context<'_>) -> Result<Reading, Malformed> {
    doc.need_id()?;
    let status = doc.need_text("status")?;
    Ok(Reading {
        standing: Standing {
            status_rank: u8::from(status == "active"),
            status: status.to_owned(),
            ..Standing::default()
        },
        links: ids(doc, &["account"]),
        ..Reading::default()
    })
}
