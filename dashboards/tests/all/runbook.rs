//! docs/RUNBOOK.md has a section for each alert, each with the same five parts, and no other above
//! its procedures.

use crate::document;
use dashboards::rules::alerts;
use std::collections::{BTreeMap, BTreeSet};

const PARTS: [&str; 5] = ["Meaning", "Money", "Diagnosis", "Mitigation", "Over when"];

/// Title and text of each section of the runbook's part for alerts.
fn sections() -> BTreeMap<String, String> {
    let runbook = document("RUNBOOK.md");
    let alerts = runbook.split("\n## Procedures").next().unwrap();
    let sections = alerts.split("\n### ").skip(1);
    let titled = sections.map(|section| {
        let (title, text) = section.split_once('\n').unwrap();
        (title.to_owned(), text.to_owned())
    });
    titled.collect()
}

#[test]
fn every_alert_has_a_section_and_every_section_an_alert() {
    let alerts: BTreeSet<String> = alerts().iter().map(|alert| alert.name.to_owned()).collect();
    let sections: BTreeSet<String> = sections().into_keys().collect();
    assert_eq!(sections, alerts);
}

#[test]
fn every_section_has_its_five_parts_in_order() {
    for (alert, text) in sections() {
        let mut rest = text.as_str();
        for part in PARTS {
            let label = format!("\n**{part}.** ");
            let Some((_, after)) = rest.split_once(&label) else {
                panic!("{alert}: no {part}, or out of order");
            };
            rest = after;
            let said = rest.split("\n**").next().unwrap();
            assert!(said.len() > 20, "{alert}: {part} says nothing");
        }
    }
}

/// A line that begins with one of our programs is a command: it must be one that there is.
#[test]
fn commands_are_ones_that_there_are() {
    const COMMANDS: [&str; 14] = [
        "ingest verify",
        "ingest --check-config",
        "reconciler run",
        "reconciler migrate",
        "reconciler hash",
        "reconciler inspect",
        "reconciler tail",
        "reconciler quarantine list",
        "reconciler quarantine show",
        "reconciler quarantine redrive",
        "reconciler quarantine discard",
        "reconciler quarantine resume",
        "ingest --version",
        "reconciler --version",
    ];
    let runbook = document("RUNBOOK.md");
    let alerts = runbook.split("\n## Procedures").next().unwrap();
    let quoted = alerts.split('`').skip(1).step_by(2);
    let ours = |text: &&str| text.starts_with("ingest ") || text.starts_with("reconciler ");
    for command in quoted.flat_map(str::lines).filter(ours) {
        let is_known = COMMANDS.iter().any(|known| command.starts_with(known));
        assert!(is_known, "there is no `{command}`");
    }
}
