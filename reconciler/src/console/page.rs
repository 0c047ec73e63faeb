//! What all pages have around them.

use axum::response::Html;

use super::access::{Proof, Visitor};
use super::problem::Problem;

/// A page's answer.
pub(super) type Answer = Result<Html<String>, Problem>;

/// The pages that the menu names: address and name.
pub(super) const MENU: [(&str, &str); 11] = [
    ("/", "Overview"),
    ("/payments", "Payments"),
    ("/refunds", "Refunds"),
    ("/disputes", "Disputes"),
    ("/payouts", "Payouts"),
    ("/invoices", "Invoices"),
    ("/providers", "Providers"),
    ("/ledger", "Ledger"),
    ("/discrepancies", "Discrepancies"),
    ("/quarantine", "Quarantine"),
    ("/operations", "Operations"),
];

/// Title, menu, search and who is here.
pub(super) struct Frame {
    pub(super) title: String,
    /// Address of the menu's page that this one is, or belongs to.
    pub(super) path: &'static str,
    /// What the field for search holds.
    pub(super) search: String,
    pub(super) visitor: Option<String>,
    pub(super) has_session: bool,
}

impl Frame {
    pub(super) fn new(title: impl Into<String>, path: &'static str, visitor: &Visitor) -> Self {
        Self {
            title: title.into(),
            path,
            search: String::new(),
            visitor: visitor.name.clone(),
            has_session: visitor.proof == Proof::Session,
        }
    }
}

/// Fills a template.
pub(super) fn html(page: &impl askama::Template) -> Answer {
    Ok(Html(page.render()?))
}
