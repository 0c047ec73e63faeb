//! What Radar says of a payment: reviews (<https://docs.stripe.com/api/radar/reviews/object>) and
//! early fraud warnings (<https://docs.stripe.com/api/radar/early_fraud_warnings/object>).

use super::{Context, Kind, Reading, ids, nested};
use crate::json::{Doc, Malformed};
use crate::order::Standing;

pub(super) const REVIEW_KIND: Kind = Kind { name: REVIEW, read: read_review };
pub(super) const WARNING_KIND: Kind = Kind { name: WARNING, read: read_warning };

/// The name of reviews.
pub const REVIEW: &str = "review";
/// The name of early fraud warnings.
pub const WARNING: &str = "radar.early_fraud_warning";

fn read_review(doc: Doc<'_>, _: &Context<'_>) -> Result<Reading, Malformed> {
    doc.need_id()?;
    let is_closed = !doc.flag("open");
    let standing = Standing {
        // A review is opened once and closed once.
        final_rank: u8::from(is_closed),
        status: if is_closed { "closed" } else { "open" }.to_owned(),
        ..Standing::default()
    };
    Ok(of_payment(doc, standing))
}

fn read_warning(doc: Doc<'_>, _: &Context<'_>) -> Result<Reading, Malformed> {
    doc.need_id()?;
    // Once nothing can be done any more, nothing can.
    let is_over = !doc.flag("actionable");
    Ok(of_payment(doc, Standing { final_rank: u8::from(is_over), ..Standing::default() }))
}

fn of_payment(doc: Doc<'_>, standing: Standing) -> Reading {
    Reading {
        standing,
        links: ids(doc, &["charge", "payment_intent"]),
        nested: nested(doc, &[], &["charge", "payment_intent"]),
        ..Reading::default()
    }
}
