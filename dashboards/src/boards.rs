//! The dashboards.

use crate::board::Board;

/// All of them.
pub fn all() -> Vec<Board> {
    vec![]
}
