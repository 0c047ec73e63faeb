//! Every alert says what it must, and has a case in which it fires and one in which it is quiet.

use dashboards::rules::alerts;
use std::collections::BTreeSet;

#[test]
fn every_alert_fires_in_a_case_and_is_quiet_in_another() {
    for alert in alerts() {
        let fires = alert.cases.iter().filter(|case| !case.told.is_empty()).count();
        assert!(fires > 0, "{} never fires", alert.name);
        assert!(alert.cases.len() > fires, "{} is never quiet", alert.name);
    }
}

#[test]
fn every_alert_has_a_name_of_its_own_and_tells_what_it_means() {
    let mut names = BTreeSet::new();
    for alert in alerts() {
        assert!(names.insert(alert.name.to_lowercase()), "{} twice", alert.name);
        assert!(alert.summary.contains("{{"), "{}: no value or label", alert.name);
        assert!(!alert.summary.ends_with('.'), "{}: a summary is a line", alert.name);
        assert!(alert.description.ends_with('.'), "{}: no sentence", alert.name);
        assert!(alert.runbook_url().ends_with(&format!("#{}", alert.name.to_lowercase())));
    }
    assert!(names.len() >= 30, "{}", names.len());
}
