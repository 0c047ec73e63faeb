//! Whether every process and role is there and does its work.

use crate::rule::{Alert, Case, Condition, Group, Severity, above, is};
use crate::settings::DOWN_FOR;
use crate::signals::{PAUSED, RESTARTS, ROLE_UP, UP};

pub(super) fn group() -> Group {
    let alerts = vec![process_down(), restarts(), role_halted(), projection_paused()];
    Group { name: "availability", tested_every: "1m", records: Vec::new(), alerts }
}

const BOTH_UP: (&str, &str) = (r#"up{job="ingest",instance="a"}"#, "1x30");

fn process_down() -> Alert {
    Alert {
        name: "ProcessDown",
        severity: Severity::Page,
        condition: is(UP, 0)
            .or(Condition::absent("up{<ingest>}"))
            .or(Condition::absent("up{<reconciler>}")),
        hold: DOWN_FOR,
        summary: "{{ $labels.job }} {{ $labels.instance }} does not answer Prometheus",
        description: "Without ingest Stripe gets no answer; without the reconciler money state stands \
            still. Look whether the process runs and whether its admin listener answers /livez.",
        cases: vec![
            Case::fires(
                [
                    (r#"up{job="ingest",instance="a"}"#, "1 1 0x10"),
                    (r#"up{job="reconciler",instance="b"}"#, "1x20"),
                ],
                "6m",
                [("job", "ingest"), ("instance", "a")],
                "ingest a does not answer Prometheus",
            ),
            // Nothing at all is known of the reconciler.
            Case::fires(
                [BOTH_UP],
                "6m",
                [("job", "reconciler")],
                "reconciler  does not answer Prometheus",
            ),
            // A deploy.
            Case::quiet(
                [
                    (r#"up{job="ingest",instance="a"}"#, "1 1 0 1x10"),
                    (r#"up{job="reconciler",instance="b"}"#, "1x20"),
                ],
                "3m",
            ),
        ],
    }
}

fn restarts() -> Alert {
    Alert {
        name: "ProcessRestarts",
        severity: Severity::Ticket,
        condition: above(RESTARTS, 2),
        hold: "0m",
        summary: "{{ $labels.job }} {{ $labels.instance }} has started {{ $value }} times in half an hour",
        description: "It ends and is started over and over. The last lines of its log before each start \
            say why; exit code 2 is a wrong setting.",
        cases: vec![
            Case::fires(
                [(
                    r#"process_start_time_seconds{job="ingest",instance="a"}"#,
                    "100 100 200 200 300 400x10",
                )],
                "12m",
                [("job", "ingest"), ("instance", "a")],
                "ingest a has started 3 times in half an hour",
            ),
            Case::quiet(
                [(
                    r#"process_start_time_seconds{job="ingest",instance="a"}"#,
                    "100 100 200 300x10",
                )],
                "12m",
            ),
        ],
    }
}

fn role_halted() -> Alert {
    const ROLE: &str = r#"reconciler_role_up{job="reconciler",instance="b",role="project"}"#;
    Alert {
        name: "RoleHalted",
        severity: Severity::Page,
        condition: is(ROLE_UP, 0),
        hold: "1m",
        summary: "The role {{ $labels.role }} on {{ $labels.instance }} has halted",
        description: "It met something after which going on could lose or falsify money state. It stays \
            down until a person has looked; the other roles go on. Its last log line at level error \
            says what it met.",
        cases: vec![
            Case::fires(
                [(ROLE, "1 1 0x10")],
                "5m",
                [("job", "reconciler"), ("instance", "b"), ("role", "project")],
                "The role project on b has halted",
            ),
            Case::quiet([(ROLE, "1x10")], "5m"),
        ],
    }
}

fn projection_paused() -> Alert {
    const B: &str = r#"reconciler_paused{job="reconciler",instance="b",role="project"}"#;
    const C: &str = r#"reconciler_paused{job="reconciler",instance="c",role="project"}"#;
    Alert {
        name: "ProjectionPaused",
        severity: Severity::Page,
        condition: is(PAUSED, 1),
        hold: "1m",
        summary: "The breaker has paused the role {{ $labels.role }}: most new records would go to \
            quarantine",
        description: "Money state stands still, nothing is lost. See `reconciler quarantine list`, fix \
            the cause (mostly: take the last deploy back), then `reconciler quarantine resume`.",
        cases: vec![
            // Two processes of one topic: one alert.
            Case::fires(
                [(B, "0 0 1x10"), (C, "0 0 0 1x10")],
                "5m",
                [("role", "project")],
                "The breaker has paused the role project: most new records would go to quarantine",
            ),
            Case::quiet([(B, "0 0 1 0x10"), (C, "0x10")], "5m"),
        ],
    }
}
