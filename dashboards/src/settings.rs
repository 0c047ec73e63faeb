//! Every threshold and selector of rules and panels. Change them here, then
//! `UPDATE_DOCS=1 cargo test -p dashboards`.

/// Where people read docs/RUNBOOK.md; the start of every alert's `runbook_url`.
pub const RUNBOOK: &str = "https://git.example.com/payments/stripe/blob/main/docs/RUNBOOK.md";

/// Prometheus' `job` of ingest.
pub const INGEST_JOB: &str = "ingest";
/// Prometheus' `job` of `reconciler run`, all roles.
pub const RECONCILER_JOB: &str = "reconciler";

/// Tag that dashboards find each other by.
pub const TAG: &str = "stripe";
/// How often a dashboard asks again.
pub const REFRESH: &str = "1m";
/// What a dashboard shows at first, up to now.
pub const TIME_RANGE: &str = "3h";

/// Share of Stripe's requests that must be answered 200 in time.
pub const ANSWERS_OBJECTIVE: f64 = 0.999;
/// In time: Stripe gives up later, but its queue for us grows before. A bucket of the histogram.
pub const ANSWERS_SECONDS: &str = "5";
/// Share of webhooks whose rows must be there in time.
pub const ROWS_OBJECTIVE: f64 = 0.99;
/// In time: from receipt to committed row. A bucket of the histogram.
pub const ROWS_SECONDS: &str = "10";
/// Share of domain events that a sink must have in time.
pub const PUBLISH_OBJECTIVE: f64 = 0.99;
/// In time: from queueing to the sink's acknowledgement. A bucket of the histogram.
pub const PUBLISH_SECONDS: &str = "60";

/// How fast a budget of thirty days burns: factor, long and short window. Both windows must burn, so
/// that an alert begins soon and ends soon. As in Google's Site Reliability Workbook, chapter 5.
pub type Burn = (f64, &'static str, &'static str);
/// 2 % of the budget in an hour, 5 % in six: somebody must look at once.
pub const FAST_BURNS: [Burn; 2] = [(14.4, "1h", "5m"), (6.0, "6h", "30m")];
/// 10 % of the budget in a day, or in three: somebody must look this week.
pub const SLOW_BURNS: [Burn; 2] = [(3.0, "1d", "2h"), (1.0, "3d", "6h")];
/// With fewer bad ones than this in the long window nobody is told.
pub const BURN_MIN: u32 = 10;

/// A process that does not answer Prometheus for this long is down.
pub const DOWN_FOR: &str = "2m";
/// A role's lag, from which somebody must look at once.
pub const LAG_SECONDS: u32 = 300;
/// A role's lag in records, from which somebody must look.
pub const LAG_RECORDS: u32 = 50_000;
/// Lag of the archive. The log keeps records for two weeks at least, so there is time.
pub const ARCHIVE_LAG_SECONDS: u32 = 1800;
/// Age of the oldest domain event that waits for a sink.
pub const OUTBOX_SECONDS: u32 = 900;
/// A partition has had lag that never fell, for five minutes and this long: nobody consumes it.
pub const DEAD_PARTITION_FOR: &str = "5m";

/// Age of the oldest open discrepancy.
pub const DISCREPANCY_SECONDS: u32 = 24 * 3600;
/// Open discrepancies of one currency, in its minor units.
pub const DISCREPANCY_MINOR_UNITS: u32 = 100_000;
/// How long a quarantined record may stay before somebody is told.
pub const QUARANTINE_FOR: &str = "15m";

/// So many verified or refused requests within that time are traffic.
pub const SECRET_TRAFFIC: u32 = 20;
/// All requests to an endpoint are refused, at least so many within ten minutes.
pub const REFUSED_MIN: u32 = 5;
/// Stripe's share of good answers in a day, below which it may disable the endpoint.
pub const STRIPE_SHARE: f64 = 0.5;
/// So many webhooks in half an hour last week make none today remarkable.
pub const USUAL_WEBHOOKS: u32 = 30;
/// Share of a limit in use, from which somebody must look.
pub const LIMIT_SHARE: f64 = 0.8;
/// A certificate must be valid for at least this long.
pub const CERTIFICATE_SECONDS: u32 = 14 * 86_400;
/// The ledger must have been checked within this time.
pub const LEDGER_CHECK_SECONDS: u32 = 3 * 3600;
/// The gauges of the database must have been read within this time.
pub const SAMPLE_SECONDS: u32 = 600;
