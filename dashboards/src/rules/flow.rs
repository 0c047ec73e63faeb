//! Whether what was received gets on: to rows, to the archive, to the sinks.

use super::burn::{Objective, Words};
use crate::rule::{Alert, Case, Group, Severity, above, is};
use crate::settings::{
    ARCHIVE_LAG_SECONDS, DEAD_PARTITION_FOR, LAG_RECORDS as MAX_RECORDS, LAG_SECONDS,
    OUTBOX_SECONDS, PUBLISH_OBJECTIVE, PUBLISH_SECONDS, ROWS_OBJECTIVE, ROWS_SECONDS,
};
use crate::signals::{
    ARCHIVE_LAG, CONSUMED_LAG, LAG_RECORDS, LOST, OUTBOX_AGE, OUTBOX_PARKED, PARTITION_FALLS,
    PARTITION_LEAST_LAG, PROJECTION_LAG, PUBLISHED, PUBLISHED_IN_TIME, ROWS, ROWS_IN_TIME,
};

/// A webhook's row is there in time.
pub fn rows() -> Objective {
    Objective {
        name: "rows",
        good: ROWS_IN_TIME.replace("<in time>", ROWS_SECONDS),
        total: ROWS.to_owned(),
        objective: ROWS_OBJECTIVE,
    }
}

/// A sink has a domain event in time.
pub fn publish() -> Objective {
    Objective {
        name: "publish",
        good: PUBLISHED_IN_TIME.replace("<in time>", PUBLISH_SECONDS),
        total: PUBLISHED.to_owned(),
        objective: PUBLISH_OBJECTIVE,
    }
}

pub(super) fn group() -> Group {
    let mut records = rows().records();
    records.extend(publish().records());
    let mut alerts = Vec::from(rows_burn());
    alerts.extend(publish_burn());
    alerts.extend([
        lag_seconds(),
        lag_records(),
        dead_partition(),
        records_lost(),
        archive_behind(),
        outbox_stuck(),
        domain_event_too_large(),
    ]);
    Group { name: "flow", tested_every: "1m", records, alerts }
}

const ROWS_OK: &str = r#"reconciler_webhook_to_row_seconds_bucket{job="reconciler",le="10"}"#;
const ROWS_ALL: &str = r#"reconciler_webhook_to_row_seconds_count{job="reconciler"}"#;
const SINK_OK: &str =
    r#"reconciler_publish_delay_seconds_bucket{job="reconciler",sink="firehose",le="60"}"#;
const SINK_ALL: &str =
    r#"reconciler_publish_delay_seconds_count{job="reconciler",sink="firehose"}"#;

fn rows_burn() -> [Alert; 2] {
    let fast = Words {
        name: "RowsBurnFast",
        summary: "{{ $value | humanizePercentage }} of webhooks became rows too late",
        description: "Money state is behind what Stripe told us. Look at the lag by role, at what a \
            transaction waits for, and at PostgreSQL.",
    };
    let slow = Words {
        name: "RowsBurnSlow",
        summary: "{{ $value | humanizePercentage }} of the webhooks of a day or more became rows too \
            late",
        description: "Little at a time, but the month's budget will not last. Look at the slowest \
            steps of a transaction over some days.",
    };
    let late = [(ROWS_OK, "0+80x90"), (ROWS_ALL, "0+100x90")];
    let hardly = [(ROWS_OK, "0+995x300"), (ROWS_ALL, "0+1000x300")];
    [
        rows().fast(
            fast,
            vec![
                Case::fires(late, "90m", [], "20% of webhooks became rows too late"),
                Case::quiet(hardly, "90m"),
            ],
        ),
        rows().slow(
            slow,
            vec![
                Case::fires(
                    [(ROWS_OK, "0+98x300"), (ROWS_ALL, "0+100x300")],
                    "300m",
                    [],
                    "2% of the webhooks of a day or more became rows too late",
                ),
                Case::quiet(hardly, "300m"),
            ],
        ),
    ]
}

fn publish_burn() -> [Alert; 2] {
    let fast = Words {
        name: "PublishBurnFast",
        summary: "{{ $value | humanizePercentage }} of domain events reached {{ $labels.sink }} too \
             late",
        description: "Consumers of domain events see old money state; ours is not affected. Look at \
            the outbox, and at the sink's answers.",
    };
    let slow = Words {
        name: "PublishBurnSlow",
        summary: "{{ $value | humanizePercentage }} of the domain events of a day or more reached \
            {{ $labels.sink }} too late",
        description: "Little at a time, but the month's budget will not last. Look at the calls to \
            the sink over some days.",
    };
    let late = [(SINK_OK, "0+80x90"), (SINK_ALL, "0+100x90")];
    let hardly = [(SINK_OK, "0+995x300"), (SINK_ALL, "0+1000x300")];
    let sink = [("sink", "firehose")];
    [
        publish().fast(
            fast,
            vec![
                Case::fires(late, "90m", sink, "20% of domain events reached firehose too late"),
                Case::quiet(hardly, "90m"),
            ],
        ),
        publish().slow(
            slow,
            vec![
                Case::fires(
                    [(SINK_OK, "0+98x300"), (SINK_ALL, "0+100x300")],
                    "300m",
                    sink,
                    "2% of the domain events of a day or more reached firehose too late",
                ),
                Case::quiet(hardly, "300m"),
            ],
        ),
    ]
}

const PROJECT_AGE: &str =
    r#"reconciler_lag_seconds{job="reconciler",instance="b",role="project",partition="3"}"#;
const ARCHIVE_AGE: &str =
    r#"reconciler_lag_seconds{job="reconciler",instance="b",role="archive",partition="3"}"#;

fn lag_seconds() -> Alert {
    Alert {
        name: "ProjectionBehind",
        severity: Severity::Page,
        condition: above(PROJECTION_LAG, LAG_SECONDS),
        hold: "2m",
        summary: "The role project is {{ $value | humanizeDuration }} behind",
        description: "The oldest record that it has yet to apply came that long ago: money state is \
            as old. Look whether it applies anything, and what a transaction waits for.",
        cases: vec![
            Case::fires(
                [(PROJECT_AGE, "0x5 0+60x20")],
                "20m",
                [],
                "The role project is 14m 0s behind",
            ),
            Case::quiet([(PROJECT_AGE, "0x5 0 60 120 180 0x20"), (ARCHIVE_AGE, "0+60x20")], "20m"),
        ],
    }
}

fn lag_records() -> Alert {
    const LAG: &str =
        r#"reconciler_lag_records{job="reconciler",instance="b",role="archive",partition="3"}"#;
    const LAG_C: &str =
        r#"reconciler_lag_records{job="reconciler",instance="c",role="archive",partition="4"}"#;
    Alert {
        name: "LagRecords",
        severity: Severity::Ticket,
        condition: above(LAG_RECORDS, MAX_RECORDS),
        hold: "15m",
        summary: "The role {{ $labels.role }} has {{ $value }} records to do",
        description: "More comes in than it does. If it gets on, more processes help, up to one for \
            each partition; if not, other alerts say why.",
        cases: vec![
            Case::fires(
                [(LAG, "0 30000x30"), (LAG_C, "0 30000x30")],
                "20m",
                [("role", "archive")],
                "The role archive has 60000 records to do",
            ),
            Case::quiet([(LAG, "0 30000x10 0x20"), (LAG_C, "30000x31")], "20m"),
        ],
    }
}

fn dead_partition() -> Alert {
    const BEHIND: &str = r#"reconciler_position_lag_records{job="reconciler",instance="b",role="project",partition="3"}"#;
    const CONSUMED: &str =
        r#"reconciler_lag_records{job="reconciler",instance="c",role="project",partition="3"}"#;
    Alert {
        name: "DeadPartition",
        severity: Severity::Page,
        condition: above(PARTITION_LEAST_LAG, 0)
            .and_on("role, partition", is(PARTITION_FALLS, 0))
            .unless_on("role, partition", above(CONSUMED_LAG, 0)),
        hold: DEAD_PARTITION_FOR,
        summary: "Nobody consumes partition {{ $labels.partition }} for the role {{ $labels.role }}: \
            {{ $value }} records wait",
        description: "Other partitions go on, so some payments are up to date and others stand \
            still. Mostly a process holds the partition and does nothing, or none runs the role.",
        cases: vec![
            Case::fires(
                [(BEHIND, "0 5x30"), (CONSUMED, "0x30")],
                "20m",
                [("role", "project"), ("partition", "3")],
                "Nobody consumes partition 3 for the role project: 5 records wait",
            ),
            // No process runs the role.
            Case::fires(
                [(BEHIND, "0 5x30")],
                "20m",
                [("role", "project"), ("partition", "3")],
                "Nobody consumes partition 3 for the role project: 5 records wait",
            ),
            // Busy: there is always something to do, and it is done.
            Case::quiet(
                [(BEHIND, "0 5 3 6 2 9 4 5 3 6 2 9 4 5 3 6 2 9 4"), (CONSUMED, "0x30")],
                "18m",
            ),
            // It is behind, but somebody is at it.
            Case::quiet([(BEHIND, "0 500x30"), (CONSUMED, "0 400x30")], "20m"),
        ],
    }
}

fn records_lost() -> Alert {
    const SERIES: &str =
        r#"reconciler_lost_records{job="reconciler",instance="b",role="project",partition="3"}"#;
    Alert {
        name: "RecordsLost",
        severity: Severity::Page,
        condition: above(LOST, 0),
        hold: "0m",
        summary: "Retention deleted {{ $value }} records of partition {{ $labels.partition }} before the \
            role {{ $labels.role }} had read them",
        description: "The role has halted, for going on would lose them without a word. Those that \
            are archived come back from there; those that are not must be fetched from Stripe.",
        cases: vec![
            Case::fires(
                [(SERIES, "0 0 17x10")],
                "4m",
                [("role", "project"), ("partition", "3")],
                "Retention deleted 17 records of partition 3 before the role project had read them",
            ),
            Case::quiet([(SERIES, "0x10")], "4m"),
        ],
    }
}

fn archive_behind() -> Alert {
    Alert {
        name: "ArchiveBehind",
        severity: Severity::Ticket,
        condition: above(ARCHIVE_LAG, ARCHIVE_LAG_SECONDS),
        hold: "5m",
        summary: "The archive is {{ $value | humanizeDuration }} behind",
        description: "Money state is not affected. It must get on before retention deletes what is \
            not archived. Look whether S3 takes what it writes.",
        cases: vec![
            Case::fires([(ARCHIVE_AGE, "0+60x50")], "40m", [], "The archive is 40m 0s behind"),
            Case::quiet([(ARCHIVE_AGE, "60x50"), (PROJECT_AGE, "0+60x50")], "40m"),
        ],
    }
}

fn outbox_stuck() -> Alert {
    const OLDEST: &str =
        r#"reconciler_outbox_oldest_seconds{job="reconciler",instance="b",sink="kafka"}"#;
    Alert {
        name: "OutboxStuck",
        severity: Severity::Page,
        condition: above(OUTBOX_AGE, OUTBOX_SECONDS),
        hold: "2m",
        summary: "The oldest domain event for {{ $labels.sink }} waits for {{ $value | \
             humanizeDuration }}",
        description: "Nothing is lost and money state is not affected, but consumers hear nothing. \
            Look whether the role publish runs and what the sink answers.",
        cases: vec![
            Case::fires(
                [(OLDEST, "0+60x30")],
                "20m",
                [("sink", "kafka")],
                "The oldest domain event for kafka waits for 20m 0s",
            ),
            Case::quiet([(OLDEST, "0 60 120 180 2x30")], "20m"),
        ],
    }
}

fn domain_event_too_large() -> Alert {
    const PARKED: &str =
        r#"reconciler_outbox_parked_rows{job="reconciler",instance="b",sink="kafka"}"#;
    Alert {
        name: "DomainEventTooLarge",
        severity: Severity::Ticket,
        condition: above(OUTBOX_PARKED, 0),
        hold: "5m",
        summary: "{{ $value }} domain events are too large for {{ $labels.sink }}",
        description: "They are set aside and block nothing. Consumers must be told of them by hand.",
        cases: vec![
            Case::fires(
                [(PARKED, "0 1x20")],
                "10m",
                [("sink", "kafka")],
                "1 domain events are too large for kafka",
            ),
            Case::quiet([(PARKED, "0x20")], "10m"),
        ],
    }
}
