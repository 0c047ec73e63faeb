//! Whether what the database says about money is whole, agrees and adds up.

use crate::rule::{Alert, Case, Group, Severity, above};
use crate::settings::{
    DISCREPANCY_MINOR_UNITS, DISCREPANCY_SECONDS, LEDGER_CHECK_SECONDS, QUARANTINE_FOR,
    SAMPLE_SECONDS,
};
use crate::signals::{
    DISCREPANCY_AGE, DISCREPANCY_AMOUNT, INPUTS_ASIDE, LEDGER, LEDGER_CHECK_AGE, QUARANTINE,
    SAMPLE_AGE,
};

pub(super) fn group() -> Group {
    let alerts = vec![
        ledger_not_zero(),
        ledger_not_checked(),
        quarantined(),
        discrepancy_old(),
        discrepancy_large(),
        inputs_refused(),
        database_not_sampled(),
    ];
    Group { name: "money", tested_every: "1m", records: Vec::new(), alerts }
}

fn ledger_not_zero() -> Alert {
    const B: &str = r#"reconciler_ledger_unbalanced_currencies{job="reconciler",instance="b"}"#;
    Alert {
        name: "LedgerNotZero",
        severity: Severity::Page,
        condition: above(LEDGER, 0),
        hold: "0m",
        summary: "The ledger does not add up to zero in {{ $value }} currencies",
        description: "The database refuses every entry that is not zero-sum, so somebody has changed \
            postings around it, or it is damaged. Stop whoever writes there before anything else.",
        cases: vec![
            Case::fires(
                [(B, "0 0 1x10")],
                "4m",
                [],
                "The ledger does not add up to zero in 1 currencies",
            ),
            Case::quiet([(B, "0x10")], "4m"),
        ],
    }
}

fn ledger_not_checked() -> Alert {
    const B: &str = r#"reconciler_ledger_checked_timestamp_seconds{job="reconciler",instance="b"}"#;
    Alert {
        name: "LedgerNotChecked",
        severity: Severity::Ticket,
        condition: above(LEDGER_CHECK_AGE, LEDGER_CHECK_SECONDS),
        hold: "5m",
        summary: "The ledger was last checked {{ $value | humanizeDuration }} ago",
        description: "Whether it adds up to zero is not known. Look for faults of the role `sample` in \
            the reconciler's log.",
        cases: vec![
            Case::fires([(B, "0x300")], "240m", [], "The ledger was last checked 4h 0m 0s ago"),
            Case::quiet([(B, "0+60x300")], "240m"),
        ],
    }
}

fn quarantined() -> Alert {
    const OPEN: &str = r#"reconciler_quarantine_open_records{job="reconciler",instance="b",reason="unknown_status"}"#;
    Alert {
        name: "RecordsInQuarantine",
        severity: Severity::Ticket,
        condition: above(QUARANTINE, 0),
        hold: QUARANTINE_FOR,
        summary: "{{ $value }} records are in quarantine as {{ $labels.reason }}",
        description: "What they say about money is not in the rows. They are kept whole: see \
            `reconciler quarantine list` and `show`, then redrive or discard them.",
        cases: vec![
            Case::fires(
                [(OPEN, "0 3x30")],
                "20m",
                [("reason", "unknown_status")],
                "3 records are in quarantine as unknown_status",
            ),
            Case::quiet([(OPEN, "0 3x10 0x20")], "20m"),
        ],
    }
}

fn discrepancy_old() -> Alert {
    const OLDEST: &str = r#"reconciler_discrepancies_oldest_seconds{job="reconciler",instance="b",kind="quote_sums"}"#;
    Alert {
        name: "DiscrepancyOld",
        severity: Severity::Ticket,
        condition: above(DISCREPANCY_AGE, DISCREPANCY_SECONDS),
        hold: "5m",
        summary: "A discrepancy {{ $labels.kind }} is open for {{ $value | humanizeDuration }}",
        description: "Something that we have disagrees with what it should agree with, and does not \
            resolve by itself. pay.discrepancy names the object; finance decides.",
        cases: vec![
            Case::fires(
                [(OLDEST, "86400+60x30")],
                "20m",
                [("kind", "quote_sums")],
                "A discrepancy quote_sums is open for 1d 0h 20m 0s",
            ),
            Case::quiet([(OLDEST, "0+60x30")], "20m"),
        ],
    }
}

fn discrepancy_large() -> Alert {
    const B: &str = r#"reconciler_discrepancies_open_minor_units{job="reconciler",instance="b",currency="EUR"}"#;
    const C: &str = r#"reconciler_discrepancies_open_minor_units{job="reconciler",instance="c",currency="EUR"}"#;
    Alert {
        name: "DiscrepancyLarge",
        severity: Severity::Page,
        condition: above(DISCREPANCY_AMOUNT, DISCREPANCY_MINOR_UNITS),
        hold: "15m",
        summary: "Open discrepancies are about {{ $value | humanize }} minor units of {{ \
             $labels.currency }}",
        description: "So much money is not where it should be, or not known to be. Look whether they \
            began with a deploy or a new quote.",
        cases: vec![
            Case::fires(
                [(B, "0 120000x30"), (C, "0 120000x30")],
                "20m",
                [("currency", "EUR")],
                "Open discrepancies are about 120k minor units of EUR",
            ),
            Case::quiet([(B, "0 60000x30"), (C, "0 60000x30")], "20m"),
        ],
    }
}

fn inputs_refused() -> Alert {
    const ASIDE: &str =
        r#"reconciler_inputs_set_aside{job="reconciler",instance="b",kind="quote"}"#;
    Alert {
        name: "InputsRefused",
        severity: Severity::Ticket,
        condition: above(INPUTS_ASIDE, 0),
        hold: "15m",
        summary: "{{ $value }} inputs ({{ $labels.kind }}) are set aside: PostgreSQL refused what \
            follows from them",
        description: "What hangs on them is as it was before. pay.rederive.refused says why; they are \
            tried again once they change.",
        cases: vec![
            Case::fires(
                [(ASIDE, "0 2x30")],
                "20m",
                [("kind", "quote")],
                "2 inputs (quote) are set aside: PostgreSQL refused what follows from them",
            ),
            Case::quiet([(ASIDE, "0 2x5 0x30")], "20m"),
        ],
    }
}

fn database_not_sampled() -> Alert {
    const B: &str = r#"reconciler_sampled_timestamp_seconds{job="reconciler",instance="b"}"#;
    Alert {
        name: "DatabaseNotSampled",
        severity: Severity::Ticket,
        condition: above(SAMPLE_AGE, SAMPLE_SECONDS),
        hold: "5m",
        summary: "What is known of the database is {{ $value | humanizeDuration }} old",
        description: "Quarantine, discrepancies, outbox and ledger are shown as they were then, and \
            their alerts are blind. Mostly PostgreSQL does not answer.",
        cases: vec![
            Case::fires([(B, "0x30")], "20m", [], "What is known of the database is 20m 0s old"),
            Case::quiet([(B, "0+60x30")], "20m"),
        ],
    }
}
