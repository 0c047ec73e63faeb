//! Money: is what the database says whole, does it agree, does it add up.

use super::{MONEY, areas, lines, stat, which_part};
use crate::board::{Board, Row};
use crate::panel::{Steps, Unit};
use crate::settings::{
    DISCREPANCY_MINOR_UNITS, DISCREPANCY_SECONDS, LAG_SECONDS, LEDGER_CHECK_SECONDS, SAMPLE_SECONDS,
};
use crate::signals;

pub(super) fn board() -> Board {
    Board {
        uid: MONEY,
        title: "Stripe: money",
        description: "Is what the database says about money whole, up to date, and does it add up?",
        rows: vec![which_part(), now(), adds_up(), set_aside(), events()],
    }
}

fn now() -> Row {
    Row::new(
        "How is it now?",
        [
            stat(
                "Ledger not zero",
                Unit::Count,
                4,
                "Currencies whose postings do not add up to zero: must be 0.",
            )
            .query(signals::LEDGER, "")
            .steps(Steps::Bad(1.0))
            .alerts(&["LedgerNotZero"]),
            stat("Ledger checked", Unit::Seconds, 4, "Time since the ledger was last checked.")
                .query(signals::LEDGER_CHECK_AGE, "")
                .steps(Steps::Bad(LEDGER_CHECK_SECONDS.into()))
                .alerts(&["LedgerNotChecked"]),
            stat(
                "Open discrepancies",
                Unit::Count,
                4,
                "What we have that disagrees with what it should agree with.",
            )
            .query("sum(max by (kind) (reconciler_discrepancies_open{<reconciler>}))", "")
            .steps(Steps::WarnBad(1.0, 100.0))
            .alerts(&["DiscrepancyOld", "DiscrepancyLarge"]),
            stat(
                "In quarantine",
                Unit::Count,
                4,
                "Records that could not be applied and that nobody has dealt with.",
            )
            .query(&format!("sum({})", signals::QUARANTINE), "")
            .steps(Steps::Bad(1.0))
            .alerts(&["RecordsInQuarantine"]),
            stat(
                "Behind",
                Unit::Seconds,
                4,
                "Age of the oldest record that is not applied: money state is as old.",
            )
            .query(signals::PROJECTION_LAG, "")
            .steps(Steps::Bad(LAG_SECONDS.into()))
            .alerts(&["ProjectionBehind"]),
            stat(
                "Known as of",
                Unit::Seconds,
                4,
                "Time since the numbers of the database on this page were read.",
            )
            .query(signals::SAMPLE_AGE, "")
            .steps(Steps::Bad(SAMPLE_SECONDS.into()))
            .alerts(&["DatabaseNotSampled"]),
        ],
    )
}

fn adds_up() -> Row {
    Row::new(
        "Does it agree?",
        [
            lines(
                "Discrepancies",
                Unit::Count,
                8,
                "Open ones by kind; docs/LEDGER.md says what each means.",
            )
            .query("max by (kind) (reconciler_discrepancies_open{<reconciler>})", "{{kind}}")
            .alerts(&["DiscrepancyOld"]),
            lines(
                "Oldest discrepancy",
                Unit::Seconds,
                8,
                "Age of the oldest open one of each kind.",
            )
            .query(signals::DISCREPANCY_AGE, "{{kind}}")
            .steps(Steps::Bad(DISCREPANCY_SECONDS.into()))
            .alerts(&["DiscrepancyOld"]),
            lines(
                "Money in discrepancies",
                Unit::Count,
                8,
                "Captured money, less what was refunded, of payments with an open discrepancy, \
                 in minor units.",
            )
            .query(signals::DISCREPANCY_AMOUNT, "{{currency}}")
            .steps(Steps::Bad(DISCREPANCY_MINOR_UNITS.into()))
            .alerts(&["DiscrepancyLarge"]),
            lines(
                "Ledger",
                Unit::Count,
                24,
                "Balance of each account of the ledger, minor units; debit is positive. Each \
                 currency adds up to zero.",
            )
            .query(
                "max by (account, currency) (reconciler_ledger_balance_minor_units{<reconciler>})",
                "{{currency}} {{account}}",
            )
            .alerts(&["LedgerNotZero"]),
        ],
    )
}

fn set_aside() -> Row {
    Row::new(
        "Is anything set aside?",
        [
            areas("Quarantine", Unit::Count, 6, "Open records by reason.")
                .query(signals::QUARANTINE, "{{reason}}")
                .alerts(&["RecordsInQuarantine"]),
            lines(
                "Oldest in quarantine",
                Unit::Seconds,
                6,
                "Age of the oldest record that nobody has dealt with.",
            )
            .query("max(reconciler_quarantine_oldest_seconds{<reconciler>})", "oldest")
            .alerts(&["RecordsInQuarantine"]),
            lines(
                "Into quarantine",
                Unit::PerSecond,
                6,
                "Records that went there, a second, and batches that tripped the breaker.",
            )
            .query(
                "sum by (reason) (rate(reconciler_quarantined_total{<reconciler>}[<window>]))",
                "{{reason}}",
            )
            .query(
                "sum(rate(reconciler_breaker_trips_total{<reconciler>}[<window>]))",
                "breaker trips",
            )
            .query(signals::PAUSED, "{{role}} paused")
            .alerts(&["ProjectionPaused", "RecordsInQuarantine"]),
            lines(
                "Quotes and providers",
                Unit::Count,
                6,
                "Inputs that wait to be taken into account, that are set aside because \
                 PostgreSQL refused them, and refusals within an hour.",
            )
            .query("max by (kind) (reconciler_inputs_waiting{<reconciler>})", "{{kind}} wait")
            .query(signals::INPUTS_ASIDE, "{{kind}} set aside")
            .query(
                "sum by (kind) (increase(reconciler_inputs_refused_total{<reconciler>}[1h]))",
                "{{kind}} refused",
            )
            .alerts(&["InputsRefused"]),
        ],
    )
}

fn events() -> Row {
    Row::new(
        "What is Stripe telling?",
        [
            areas("New events by type", Unit::PerSecond, 12,
                "The ten most frequent types of Stripe's events, a second.")
                .query(
                    "topk(10, sum by (type) (rate(reconciler_events_by_type_total{<reconciler>}[<window>])))",
                    "{{type}}",
                ),
            lines("Newest event", Unit::Seconds, 12,
                "Our time less Stripe's time of the newest event that was applied.")
                .query("time() - max(reconciler_newest_applied_timestamp_seconds{<reconciler>})", "age")
                .alerts(&["ProjectionBehind", "NoWebhooks"]),
        ],
    )
}
