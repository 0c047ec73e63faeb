//! The rules, a file for each part of the system.

pub mod answers;
pub mod availability;
pub mod burn;
pub mod flow;
pub mod money;
pub mod stripe;

use crate::rule::{Alert, Group};

/// All groups.
pub fn all() -> Vec<Group> {
    vec![availability::group(), answers::group(), stripe::group(), flow::group(), money::group()]
}

/// All alerts.
pub fn alerts() -> Vec<Alert> {
    all().into_iter().flat_map(|group| group.alerts).collect()
}
