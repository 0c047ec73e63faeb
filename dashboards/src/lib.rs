//! Dashboards, recording and alerting rules, rendered from one set of queries and one file of
//! thresholds ([`settings`]), so that what a panel shows and what an alert judges never part.
#![forbid(unsafe_code)]

pub mod board;
pub mod boards;
pub mod panel;
pub mod query;
pub mod rule;
pub mod rules;
pub mod settings;
pub mod signals;
mod yaml;

use std::path::PathBuf;

/// First line of each rendered rules file.
pub(crate) const MADE_BY: &str =
    "# Made from dashboards/src: UPDATE_DOCS=1 cargo test -p dashboards\n";

/// A rendered file: its name in `dashboards/` and its text.
pub type File = (String, String);

/// Everything that is rendered.
pub fn files() -> Vec<File> {
    let rules = rules::all().into_iter().flat_map(|group| {
        [
            (format!("{}.rules.yml", group.name), group.rules()),
            (format!("{}.test.yml", group.name), group.tests()),
        ]
    });
    let boards = boards::all().into_iter().map(|board| {
        let json = serde_json::to_string_pretty(&board.json()).unwrap_or_default();
        (format!("{}.json", board.uid), json + "\n")
    });
    rules.chain(boards).collect()
}

/// The directory of this crate, where the rendered files lie.
pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
