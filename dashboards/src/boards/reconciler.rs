//! The reconciler: does what was received get on, and if not, what holds it.

use super::{RECONCILER, areas, kafka_clients, lines, processes, quantile, which_part};
use crate::board::{Board, Row};
use crate::panel::{Steps, Unit};
use crate::rules::flow::{publish, rows};
use crate::settings::{
    ARCHIVE_LAG_SECONDS, LAG_RECORDS, LAG_SECONDS, OUTBOX_SECONDS, PUBLISH_OBJECTIVE,
    ROWS_OBJECTIVE,
};
use crate::signals;

pub(super) fn board() -> Board {
    Board {
        uid: RECONCILER,
        title: "Stripe: reconciler",
        description: "Does what was received become rows, archive and domain events, and if not: is it \
            the topic, PostgreSQL, S3 or a sink?",
        rows: vec![
            which_part(),
            behind(),
            late(),
            postgres(),
            archive(),
            sinks(),
            kafka_clients("<reconciler>"),
            processes("<reconciler>"),
        ],
    }
}

fn behind() -> Row {
    Row::new(
        "Is it behind?",
        [
            lines(
                "Behind in time",
                Unit::Seconds,
                8,
                "Age of the oldest record that each role has yet to do.",
            )
            .query(signals::PROJECTION_LAG, "project")
            .query(signals::ARCHIVE_LAG, "archive")
            .steps(Steps::WarnBad(LAG_SECONDS.into(), ARCHIVE_LAG_SECONDS.into()))
            .alerts(&["ProjectionBehind", "ArchiveBehind"]),
            lines("Behind in records", Unit::Count, 8, "Records that each role has yet to do.")
                .query(signals::LAG_RECORDS, "{{role}}")
                .steps(Steps::Bad(LAG_RECORDS.into()))
                .alerts(&["LagRecords"]),
            lines("Records done", Unit::PerSecond, 8,
                "Records that each role dealt with, a second.")
                .query(
                    "sum by (role) (rate(reconciler_consumed_records_total{<reconciler>}[<window>]))",
                    "{{role}}",
                ),
            lines(
                "Partitions that stand still",
                Unit::Count,
                8,
                "Records of each partition with lag, by the positions in PostgreSQL, whether or not a \
                 process consumes it.",
            )
            .query(&format!("topk(10, {})", signals::PARTITION_LAG), "{{role}} {{partition}}")
            .alerts(&["DeadPartition"]),
            lines(
                "Partitions by process",
                Unit::Count,
                8,
                "Partitions that each process works on. All together they are the topic's.",
            )
            .query("reconciler_assigned_partitions{<reconciler>}", "{{instance}} {{role}}")
            .alerts(&["DeadPartition"]),
            lines(
                "Assignments",
                Unit::PerSecond,
                8,
                    "Partitions assigned and revoked, a second. Often: processes come and go, \
                     or are too slow.",
            )
            .query(
                "sum by (role, move) (rate(reconciler_rebalances_total{<reconciler>}[<window>]))",
                "{{role}} {{move}}",
            ),
            lines(
                "Roles",
                Unit::Count,
                8,
                "1 while a role runs in a process, 0 once it has halted.",
            )
            .query(signals::ROLE_UP, "{{instance}} {{role}}")
            .steps(Steps::Low(1.0))
            .alerts(&["RoleHalted"]),
            lines(
                "Faults",
                Unit::PerSecond,
                8,
                "Faults by role and what was decided: all but `halt` go on.",
            )
            .query(
                "sum by (role, decision) (rate(reconciler_faults_total{<reconciler>}[<window>]))",
                "{{role}} {{decision}}",
            )
            .alerts(&["RoleHalted", "PostgresFailing"]),
            lines(
                "Records lost",
                Unit::Count,
                8,
                "Records that retention deleted before a role had read them. It halts.",
            )
            .query(signals::LOST, "{{role}} {{partition}}")
            .steps(Steps::Bad(1.0))
            .alerts(&["RecordsLost"]),
        ],
    )
}

fn late() -> Row {
    const SECONDS: &str = "reconciler_webhook_to_row_seconds";
    Row::new(
        "Is money state late?",
        [
            lines(
                "Rows too late",
                Unit::Share,
                8,
                "Share of webhooks whose row was not there in time. The line is what the objective allows. \
                 While nothing is applied there is nothing to show: see the lag.",
            )
            .query(&rows().bad(), "too late")
            .steps(Steps::Bad(1.0 - ROWS_OBJECTIVE))
            .alerts(&["RowsBurnFast", "RowsBurnSlow"]),
            lines("From webhook to row", Unit::Seconds, 8,
                "From ingest's receipt to the commit of the rows.")
                .query(&quantile(0.5, SECONDS, "<reconciler>", ""), "half")
                .query(&quantile(0.99, SECONDS, "<reconciler>", ""), "99 %")
                .alerts(&["RowsBurnFast"]),
            areas("Events by verdict", Unit::PerSecond, 8,
                "What became of the records' events, a second.")
                .query(
                    "sum by (verdict) (rate(reconciler_events_total{<reconciler>}[<window>]))",
                    "{{verdict}}",
                )
                .alerts(&["RecordsInQuarantine"]),
        ],
    )
}

fn postgres() -> Row {
    Row::new(
        "Is it PostgreSQL?",
        [
            lines("Time to apply a batch", Unit::Seconds, 8,
                "From decoded to committed, every attempt included.")
                .query(&quantile(0.5, "reconciler_apply_seconds", "<reconciler>", ""), "half")
                .query(&quantile(0.99, "reconciler_apply_seconds", "<reconciler>", ""), "99 %")
                .alerts(&["RowsBurnFast", "ProjectionBehind"]),
            lines(
                "Slowest steps",
                Unit::Seconds,
                8,
                "The five slowest steps of a batch's transaction, 99th percentile. lock_objects waits for \
                 other transactions, commit for the disk.",
            )
            .query(
                &format!("topk(5, {})", quantile(0.99, "reconciler_apply_step_seconds", "<reconciler>", "step")),
                "{{step}}",
            )
            .alerts(&["RowsBurnSlow"]),
            areas(
                "Transactions tried again",
                Unit::PerSecond,
                8,
                    "By reason. deadlock, serialization, links and behind are how it works; \
                     the others are trouble.",
            )
            .query(
                "sum by (reason) (rate(reconciler_transaction_retries_total{<reconciler>}[<window>]))",
                "{{reason}}",
            )
            .alerts(&["PostgresFailing"]),
            lines("Records in a batch", Unit::Count, 8,
                "Mean number of records that were dealt with together.")
                .query(
                    "sum by (role) (rate(reconciler_batch_records_sum{<reconciler>}[<window>]))\n\
                     / sum by (role) (rate(reconciler_batch_records_count{<reconciler>}[<window>]))",
                    "{{role}}",
                ),
            lines(
                "Connections",
                Unit::Share,
                8,
                "Share of each pool's connections in use.",
            )
            .query(
                r#"max by (instance, pool) (reconciler_database_connections{<reconciler>, state="in_use"})
/ max by (instance, pool) (reconciler_database_max_connections{<reconciler>})"#,
                "{{instance}} {{pool}}",
            ),
            lines(
                "Waiting for a connection",
                Unit::Seconds,
                8,
                "99th percentile of the wait, making a connection included.",
            )
            .query(&quantile(0.99, "reconciler_database_acquire_seconds", "<reconciler>", ""), "99 %")
            .alerts(&["PostgresFailing"]),
        ],
    )
}

fn archive() -> Row {
    Row::new(
        "Is it S3?",
        [
            lines("Records archived", Unit::PerSecond, 6, "Records in complete segments, a second.")
                .query("sum(rate(reconciler_archive_records_total{<reconciler>}[<window>]))", "records")
                .query("sum by (how) (rate(reconciler_archive_segments_total{<reconciler>}[<window>]))", "segments {{how}}")
                .alerts(&["ArchiveBehind"]),
            areas("Writes to S3", Unit::PerSecond, 6,
                "By object and result; `existed`: another writer was first.")
                .query(
                    "sum by (object, result) (rate(reconciler_archive_puts_total{<reconciler>}[<window>]))",
                    "{{object}} {{result}}",
                )
                .alerts(&["S3Failing"]),
            lines("Time to write a segment", Unit::Seconds, 6,
                "From a segment's closing to its position, retries included.")
                .query(&quantile(0.99, "reconciler_archive_upload_seconds", "<reconciler>", ""), "99 %")
                .alerts(&["S3Failing"]),
            lines("Not in S3 yet", Unit::Bytes, 6,
                "Lines in memory. ARCHIVE_MAX_OPEN_BYTES bounds them.")
                .query("sum by (instance) (reconciler_archive_open_bytes{<reconciler>})", "{{instance}}")
                .query("sum(rate(reconciler_archive_stored_bytes_total{<reconciler>}[<window>]))", "stored a second")
                .alerts(&["ArchiveBehind"]),
        ],
    )
}

fn sinks() -> Row {
    Row::new(
        "Is it a sink?",
        [
            lines(
                "Published too late",
                Unit::Share,
                8,
                "Share of domain events that a sink did not have in time. The line is what the objective \
                 allows.",
            )
            .query(&publish().bad(), "{{sink}}")
            .steps(Steps::Bad(1.0 - PUBLISH_OBJECTIVE))
            .alerts(&["PublishBurnFast", "PublishBurnSlow"]),
            lines("Oldest that waits", Unit::Seconds, 8,
                "Age of the oldest domain event that waits for each sink.")
                .query(signals::OUTBOX_AGE, "{{sink}}")
                .steps(Steps::Bad(OUTBOX_SECONDS.into()))
                .alerts(&["OutboxStuck"]),
            lines("Domain events that wait", Unit::Count, 8,
                "Rows of the outbox, and those that are too large for any sink.")
                .query("max by (sink) (reconciler_outbox_rows{<reconciler>})", "{{sink}}")
                .query(signals::OUTBOX_PARKED, "{{sink}} too large")
                .alerts(&["OutboxStuck", "DomainEventTooLarge"]),
            areas("Calls to sinks", Unit::PerSecond, 8,
                "By result: `partial` refused some entries, `failed` took none.")
                .query(
                    "sum by (sink, result) (rate(reconciler_publish_calls_total{<reconciler>}[<window>]))",
                    "{{sink}} {{result}}",
                )
                .alerts(&["FirehoseFailing", "OutboxStuck"]),
            lines("Time of a call", Unit::Seconds, 8,
                "99th percentile, of calls that were answered.")
                .query(&quantile(0.99, "reconciler_publish_call_seconds", "<reconciler>", "sink"), "{{sink}}")
                .alerts(&["PublishBurnFast"]),
            lines("Domain events", Unit::PerSecond, 8,
                "Queued, and what the sinks did with them, a second.")
                .query("sum(rate(reconciler_domain_events_queued_total{<reconciler>}[<window>]))", "queued")
                .query(
                    "sum by (sink, result) (rate(reconciler_publish_events_total{<reconciler>}[<window>]))",
                    "{{sink}} {{result}}",
                )
                .query(
                    "sum by (sink) (rate(reconciler_publish_retried_events_total{<reconciler>}[<window>]))",
                    "{{sink}} sent again",
                )
                .query(
                    "sum(rate(reconciler_publish_producer_replacements_total{<reconciler>}[<window>]))",
                    "producers replaced",
                )
                .alerts(&["PublishBurnFast", "OutboxStuck"]),
        ],
    )
}
