//! The dashboards. Each begins with the same row, so that whichever is opened says which part it is.

mod ingest;
mod money;
mod reconciler;
mod stripe;

use crate::board::{Board, Row};
use crate::panel::{Kind, Panel, Steps, Unit, panel};
use crate::signals;

const INGEST: &str = "stripe-ingest";
const RECONCILER: &str = "stripe-reconciler";
const MONEY: &str = "stripe-money";
const STRIPE: &str = "stripe-stripe";

/// All of them.
pub fn all() -> Vec<Board> {
    vec![ingest::board(), reconciler::board(), money::board(), stripe::board()]
}

/// Which part it is: us, Kafka, PostgreSQL, AWS or Stripe, and whether money is right.
fn which_part() -> Row {
    let state = |title, description| panel(Kind::State, title, Unit::Count, 4, description);
    let sum = |parts: &[&str]| parts.join("\n+ ");
    let kafka = [&format!("sum({})", signals::KAFKA_UNREACHED), "sum(", signals::KAFKA_ERRORS, ")"];
    let postgres = format!("sum({})", signals::POSTGRES_ERRORS);
    Row::new(
        "Which part is it?",
        [
            state(
                "Us",
                "Processes that do not answer Prometheus, roles that have halted, and a paused \
                 projection.",
            )
            .query(&sum(&[
                "sum(1 - up{<both>})",
                "sum(1 - reconciler_role_up{<reconciler>})",
                "sum(max by (role) (reconciler_paused{<reconciler>}))",
            ]), "")
            .steps(Steps::Bad(1.0))
            .alerts(&["ProcessDown", "RoleHalted", "ProjectionPaused"]),
            state(
                "Kafka",
                "Clients that reach no broker, and records that were not acknowledged within 5 minutes.",
            )
            .query(&format!("{}\n+ {}{}{}", kafka[0], kafka[1], kafka[2], kafka[3]), "")
            .steps(Steps::Bad(1e-9))
            .alerts(&["KafkaUnreachable", "KafkaNotAcknowledging"])
            .more_on(INGEST),
            state("PostgreSQL", "Transactions within 5 minutes that it did not answer, or not in time.")
                .query(&postgres, "")
                .steps(Steps::Bad(1e-9))
                .alerts(&["PostgresFailing"])
                .more_on(RECONCILER),
            state("AWS", "Calls to S3 and Firehose within 5 minutes that failed.")
                .query(&sum(&[signals::S3_ERRORS, signals::FIREHOSE_ERRORS]), "")
                .steps(Steps::Bad(1e-9))
                .alerts(&["S3Failing", "FirehoseFailing"])
                .more_on(RECONCILER),
            state(
                "Stripe",
                "Endpoints to which every request within 10 minutes was refused, and whether webhooks \
                 came within half an hour where last week they did.",
            )
            .query(&format!(
                "sum({} > bool 0.999)\n+ ({} == bool 0) * ({} > bool {} or vector(0))",
                signals::refused_share(),
                signals::WEBHOOKS,
                signals::WEBHOOKS_LAST_WEEK,
                crate::settings::USUAL_WEBHOOKS,
            ), "")
            .steps(Steps::Bad(1.0))
            .alerts(&["NoWebhooks", "EndpointRefused"])
            .more_on(STRIPE),
            state("Money", "Currencies in which the ledger does not add up to zero, and records in quarantine.")
                .query(&sum(&[signals::LEDGER, &format!("sum({})", signals::QUARANTINE)]), "")
                .steps(Steps::Bad(1.0))
                .alerts(&["LedgerNotZero", "RecordsInQuarantine"])
                .more_on(MONEY),
        ],
    )
}

/// How a program's processes are.
fn processes(program: &str) -> Row {
    let of = |query: &str| query.replace("<this>", program);
    let lines = |title, unit, description| panel(Kind::Lines, title, unit, 6, description);
    Row::new(
        "Are the processes well?",
        [
            lines("Ready", Unit::Count, "1 while /readyz answers 200. What holds a process back, /readyz says.")
                .query(&of("service_ready{<this>}"), "{{instance}}")
                .alerts(&["ProcessDown", "ProcessRestarts"]),
            lines("Age of the processes", Unit::Seconds, "Time since the start. Saw teeth are restarts.")
                .query(&of("time() - process_start_time_seconds{<this>}"), "{{instance}}")
                .alerts(&["ProcessRestarts"]),
            lines("Lines logged", Unit::PerSecond, "Errors and warnings in the log, a second.")
                .query(&of("sum by (instance, level) (rate(service_log_lines_total{<this>}[<window>]))"), "{{instance}} {{level}}"),
            lines("Versions", Unit::Count, "Processes of each version and commit: two of them while a deploy is under way.")
                .query(&of("count by (version, commit) (service_build_info{<this>})"), "{{version}} {{commit}}"),
            lines("Processor", Unit::Share, "Cores that each process uses.")
                .query(&of("rate(process_cpu_seconds_total{<this>}[<window>])"), "{{instance}}"),
            lines("Workers busy", Unit::Share, "Share of the runtime's worker threads that are busy. Near 100 % everything waits.")
                .query(&of("rate(tokio_busy_seconds_total{<this>}[<window>]) / tokio_workers{<this>}"), "{{instance}}")
                .steps(Steps::WarnBad(0.8, 0.95)),
            lines("Memory", Unit::Bytes, "Memory in RAM. It is bounded by the limits on what is in progress.")
                .query(&of("process_resident_memory_bytes{<this>}"), "{{instance}}"),
            lines("File descriptors", Unit::Share, "Share of the file descriptors that are open. At 100 % no connection is accepted.")
                .query(&of("process_open_fds{<this>} / process_max_fds{<this>}"), "{{instance}}")
                .steps(Steps::WarnBad(0.8, 0.95)),
        ],
    )
}

/// How a program's Kafka clients are.
fn kafka_clients(program: &str) -> Row {
    let of = |query: &str| query.replace("<this>", program);
    let lines = |title, unit, description| panel(Kind::Lines, title, unit, 8, description);
    Row::new(
        "Is it Kafka?",
        [
            lines("Brokers that are up", Unit::Count, "Brokers that each client is connected to.")
                .query(&of("sum by (instance, client) (kafka_client_broker_up{<this>})"), "{{instance}} {{client}}")
                .steps(Steps::Low(1.0))
                .alerts(&["KafkaUnreachable"]),
            lines("Time to a response", Unit::Seconds, "99th percentile of the time from a request to a broker's response. A consumer's requests wait for records on purpose, for half a second.")
                .query(&of("max by (client, broker) (kafka_client_broker_rtt_p99_seconds{<this>})"), "{{client}} broker {{broker}}"),
            lines("Errors of the clients", Unit::PerSecond, "Errors, time-outs, retries and broken connections of the clients, a second. They recover by themselves.")
                .query(&of("sum by (client) (rate(kafka_client_errors_total{<this>}[<window>]))"), "{{client}} errors")
                .query(&of("sum by (client) (rate(kafka_client_broker_timeouts_total{<this>}[<window>]))"), "{{client}} time-outs")
                .query(&of("sum by (client) (rate(kafka_client_broker_retries_total{<this>}[<window>]))"), "{{client}} retries")
                .query(&of("sum by (client) (rate(kafka_client_broker_send_errors_total{<this>}[<window>]) + rate(kafka_client_broker_receive_errors_total{<this>}[<window>]))"), "{{client}} broken requests")
                .query(&of("sum by (client) (rate(kafka_client_broker_disconnects_total{<this>}[<window>]))"), "{{client}} disconnects")
                .alerts(&["KafkaUnreachable"]),
        ],
    )
}

/// A quantile of a histogram, by these labels too.
fn quantile(q: f64, metric: &str, matchers: &str, by: &str) -> String {
    let by = if by.is_empty() { "le".to_owned() } else { format!("le, {by}") };
    format!(
        "histogram_quantile({q}, sum by ({by}) (rate({metric}_bucket{{{matchers}}}[<window>])))"
    )
}

/// A bare panel.
fn lines(title: &'static str, unit: Unit, width: u32, description: &'static str) -> Panel {
    panel(Kind::Lines, title, unit, width, description)
}

/// A bare panel whose parts add up.
fn areas(title: &'static str, unit: Unit, width: u32, description: &'static str) -> Panel {
    panel(Kind::Areas, title, unit, width, description)
}

/// A bare number.
fn stat(title: &'static str, unit: Unit, width: u32, description: &'static str) -> Panel {
    panel(Kind::Stat, title, unit, width, description)
}
