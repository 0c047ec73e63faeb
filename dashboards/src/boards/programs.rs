//! Rows about a program's processes and their Kafka clients, the same for both programs.

use crate::board::Row;
use crate::panel::{Kind, Steps, Unit, panel};

/// How a program's processes are.
pub(super) fn processes(program: &str) -> Row {
    let of = |query: &str| query.replace("<this>", program);
    let lines = |title, unit, description| panel(Kind::Lines, title, unit, 6, description);
    Row::new(
        "Are the processes well?",
        [
            lines("Ready", Unit::Count,
                "1 while /readyz answers 200. What holds a process back, /readyz says.")
                .query(&of("service_ready{<this>}"), "{{instance}}")
                .alerts(&["ProcessDown", "ProcessRestarts"]),
            lines("Age of the processes", Unit::Seconds,
                "Time since the start. Saw teeth are restarts.")
                .query(&of("time() - process_start_time_seconds{<this>}"), "{{instance}}")
                .alerts(&["ProcessRestarts"]),
            lines("Lines logged", Unit::PerSecond, "Errors and warnings in the log, a second.")
                .query(&of("sum by (instance, level) (rate(service_log_lines_total{<this>}[<window>]))"), "{{instance}} {{level}}"),
            lines("Versions", Unit::Count,
                "Processes of each version and commit: two of them while a deploy is under \
                 way.")
                .query(&of("count by (version, commit) (service_build_info{<this>})"), "{{version}} {{commit}}"),
            lines("Processor", Unit::Share, "Cores that each process uses.")
                .query(&of("rate(process_cpu_seconds_total{<this>}[<window>])"), "{{instance}}"),
            lines("Workers busy", Unit::Share,
                "Share of the runtime's worker threads that are busy. Near 100 % everything \
                 waits.")
                .query(&of("rate(tokio_busy_seconds_total{<this>}[<window>]) / tokio_workers{<this>}"), "{{instance}}")
                .steps(Steps::WarnBad(0.8, 0.95)),
            lines("Memory", Unit::Bytes,
                "Memory in RAM. It is bounded by the limits on what is in progress.")
                .query(&of("process_resident_memory_bytes{<this>}"), "{{instance}}"),
            lines("File descriptors", Unit::Share,
                "Share of the file descriptors that are open. At 100 % no connection is \
                 accepted.")
                .query(&of("process_open_fds{<this>} / process_max_fds{<this>}"), "{{instance}}")
                .steps(Steps::WarnBad(0.8, 0.95)),
        ],
    )
}

/// How a program's Kafka clients are.
pub(super) fn kafka_clients(program: &str) -> Row {
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
            lines("Errors of the clients", Unit::PerSecond,
                "Errors, time-outs, retries and broken connections of the clients, a second. \
                 They recover by themselves.")
                .query(&of("sum by (client) (rate(kafka_client_errors_total{<this>}[<window>]))"), "{{client}} errors")
                .query(&of("sum by (client) (rate(kafka_client_broker_timeouts_total{<this>}[<window>]))"), "{{client}} time-outs")
                .query(&of("sum by (client) (rate(kafka_client_broker_retries_total{<this>}[<window>]))"), "{{client}} retries")
                .query(&of("sum by (client) (rate(kafka_client_broker_send_errors_total{<this>}[<window>]) + rate(kafka_client_broker_receive_errors_total{<this>}[<window>]))"), "{{client}} broken requests")
                .query(&of("sum by (client) (rate(kafka_client_broker_disconnects_total{<this>}[<window>]))"), "{{client}} disconnects")
                .alerts(&["KafkaUnreachable"]),
        ],
    )
}
