//! `reconciler republish`: domain events once more, from the facts, to one sink.

use std::io::{self, Write as _};
use std::num::NonZeroU32;

use anyhow::Context as _;
use clap::Args;
use clap::builder::PossibleValuesParser;
use domain::fact::{FactType, rfc3339};
use indicatif::{ProgressBar, ProgressStyle};
use kafka::topic;
use serde_json::{Value, json};
use service::exit::{ConfigError, Outcome};
use service::{signals, stdout};
use sqlx::PgPool;

use super::ask::{self, Unasked};
use crate::cli::Read;
use crate::config::Destinations;
use crate::database;
use crate::domain_topic::{DomainTopic, NEED_BYTES};
use crate::firehose::DeliveryStream;
use crate::operation::{self, Operator, Stopped};
use crate::pipeline::TOPIC_TIMEOUT;
use crate::publish::EventStream;
use crate::republish::{Cursor, Plan, Report, Republisher, Selection};
use crate::sink::Sink;
use crate::source::filter::{Moment, moment};

/// Shown below `--help`.
pub(crate) const EXAMPLES: &str = "\
Times are RFC 3339, a day, whose midnight (UTC) is meant, or Unix seconds. --from counts, --to does
not.

Examples:
  reconciler republish --sink kafka --dry-run            how much there is, by type
  reconciler republish --sink kafka --yes                all of the past, for a sink that is new
  reconciler republish --sink firehose --from 2025-10-01 --to 2025-10-02 --type payment.captured
  reconciler republish --sink kafka --subject ch_3Nx…:1000
  reconciler republish --sink kafka --rate 2000 --after 1760000018:fct_…

A sink that is new: first add it to DOMAIN_SINKS and restart the roles project and publish, then
republish to it. So nothing falls between what is told from then on and what was told before.

Exit codes: 0 all was sent; 1 failed or interrupted, and --after says where to go on; 3 all was sent
but what no sink can take.";

// Only the sink kafka needs brokers.
#[derive(Debug, Args)]
#[command(mut_arg("kafka_brokers", |brokers| brokers.required(false)))]
pub(crate) struct Republish {
    /// Where to send them
    #[arg(long, value_enum)]
    sink: Sink,
    /// Only events of this time or later, by Stripe's time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Moment>,
    /// Only events before this time, by Stripe's time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Moment>,
    /// Only facts that were first recorded here at this time or later
    #[arg(long, value_name = "TIME", value_parser = moment)]
    recorded_from: Option<Moment>,
    /// Only facts that were first recorded here before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    recorded_to: Option<Moment>,
    /// Only this type; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(FactType::ALL.map(FactType::as_str)))]
    kinds: Vec<String>,
    /// Only this subject; may be given several times
    #[arg(long = "subject", value_name = "SUBJECT")]
    subjects: Vec<String>,
    /// Only what this Stripe account owns
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Go on after this place, which an interrupted run has printed
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
    /// Events a second, at most
    #[arg(long, env = "REPUBLISH_RATE", default_value = "500")]
    rate: NonZeroU32,
    /// Ask before more events than this are sent; without a terminal, refuse
    #[arg(long, env = "REPUBLISH_CONFIRM_ABOVE", value_name = "EVENTS", default_value_t = 1000)]
    confirm_above: u64,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Send nothing; say how much there is
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    by: Operator,
    #[command(flatten)]
    read: Read,
    #[command(flatten)]
    destinations: Destinations,
    #[command(flatten)]
    kafka: Option<kafka::Options>,
}

/// Publishes again what is selected.
pub(crate) async fn run(arguments: &Republish) -> anyhow::Result<Outcome> {
    let pool = database::patient_pool(&arguments.read.database.url()?, "republish", 1)?;
    match arguments.sink {
        _ if arguments.dry_run => {
            let plan = arguments.selection().plan(&pool).await?;
            arguments.tell_plan(&plan)?;
            Ok(Outcome::Done)
        }
        Sink::Firehose => {
            let stream = arguments.destinations.stream()?.to_owned();
            arguments.send(&pool, DeliveryStream::open(stream).await?).await
        }
        Sink::Kafka => {
            let raw = arguments.kafka.as_ref();
            let missing =
                || ConfigError::new("KAFKA_BROKERS", "is not set; the sink kafka needs it");
            let kafka = arguments.destinations.topic(raw.ok_or_else(missing)?)?;
            kafka.client_config()?;
            let doing = "checking the domain topic";
            let topic = topic::describe(&kafka, TOPIC_TIMEOUT).await.context(doing)?;
            for warning in topic::check(&topic, NEED_BYTES as u64).context(doing)? {
                tracing::warn!(topic = topic.name, "{warning}");
            }
            arguments.send(&pool, DomainTopic::open(&kafka, &topic)?).await
        }
    }
}

impl Republish {
    fn selection(&self) -> Selection {
        Selection {
            from: self.from,
            to: self.to,
            recorded_from: self.recorded_from,
            recorded_to: self.recorded_to,
            kinds: self.kinds.clone(),
            subjects: self.subjects.clone(),
            account: self.account.clone(),
            after: self.after.clone(),
        }
    }

    async fn send(&self, pool: &PgPool, stream: impl EventStream) -> anyhow::Result<Outcome> {
        let selection = self.selection();
        let matching = selection.plan(pool).await?.iter().map(|plan| plan.events).sum();
        let unasked = Unasked {
            yes: self.yes,
            above: self.confirm_above,
            setting: "REPUBLISH_CONFIRM_ABOVE",
        };
        let doing = format!("Send {matching} events to {}", self.sink.as_str());
        ask::whether(&doing, matching, unasked)?;
        let stop = signals::shutdown_token()?;
        let republisher = Republisher::new(pool.clone(), stream, self.sink, self.rate, stop);
        operation::record(pool, &self.by, "republish", self.asked(), async |operation| {
            let template = "{bar:40} {pos}/{len} events, {per_sec}, {eta} left";
            let bar = ProgressBar::new(matching);
            let bar = bar.with_style(ProgressStyle::with_template(template)?);
            let (report, done) = republisher.run(&selection, |events| bar.inc(events)).await;
            bar.finish_and_clear();
            self.tell(operation, matching, &report)?;
            let go_on = match &report.cursor {
                Some(cursor) => format!("reconciler republish … --after {cursor}"),
                None => "reconciler republish …".to_owned(),
            };
            done.with_context(|| format!("go on with `{go_on}`"))?;
            if !report.is_whole {
                let summary = json!({"sent": report.sent, "left_out": left_out(&report)});
                return Err(Stopped { go_on, summary }.into());
            }
            let is_all = report.left_out.is_empty();
            let outcome = if is_all { Outcome::Done } else { Outcome::Found };
            Ok((outcome, json!({"sent": report.sent, "left_out": left_out(&report)})))
        })
        .await
    }

    fn asked(&self) -> Value {
        json!({
            "sink": self.sink.as_str(),
            "from": self.from,
            "to": self.to,
            "recorded_from": self.recorded_from,
            "recorded_to": self.recorded_to,
            "types": self.kinds,
            "subjects": self.subjects,
            "account": self.account,
            "after": self.after.as_ref().map(ToString::to_string),
            "rate": self.rate,
        })
    }

    fn tell_plan(&self, plan: &[Plan]) -> io::Result<()> {
        let events: u64 = plan.iter().map(|plan| plan.events).sum();
        stdout::print(|out| {
            if self.read.json {
                let types: Vec<Value> = plan
                    .iter()
                    .map(|Plan { kind, events, times: (first, last) }| {
                        let (first, last) = (rfc3339(*first), rfc3339(*last));
                        json!({"type": kind, "events": events, "first": first, "last": last})
                    })
                    .collect();
                let sink = self.sink.as_str();
                let document = json!({"dry_run": true, "sink": sink, "matching": events,
                    "types": types});
                return writeln!(out, "{document}");
            }
            for Plan { kind, events, times: (first, last) } in plan {
                writeln!(out, "{kind:<26}{events:>12}  {} to {}", rfc3339(*first), rfc3339(*last))?;
            }
            writeln!(out, "{events} events would go to {}; nothing was sent", self.sink.as_str())
        })
    }

    fn tell(&self, operation: i64, matching: u64, report: &Report) -> io::Result<()> {
        let sink = self.sink.as_str();
        stdout::print(|out| {
            if self.read.json {
                let document = json!({
                    "dry_run": false,
                    "operation": operation,
                    "sink": sink,
                    "matching": matching,
                    "sent": report.sent,
                    "sent_again": report.refused,
                    "left_out": left_out(report),
                    "complete": report.is_whole,
                    "after": report.cursor.as_ref().map(ToString::to_string),
                });
                return writeln!(out, "{document}");
            }
            writeln!(
                out,
                "{} of {matching} events sent to {sink}; operation {operation}",
                report.sent
            )?;
            if report.refused > 0 {
                writeln!(out, "{} records were refused and sent again", report.refused)?;
            }
            for (reason, left) in &report.left_out {
                writeln!(out, "{} not sent, {reason}: {}", left.events, left.facts.join(" "))?;
            }
            Ok(())
        })
    }
}

fn left_out(report: &Report) -> Value {
    let left = report.left_out.iter();
    left.map(|(reason, left)| {
        ((*reason).to_owned(), json!({"events": left.events, "facts": left.facts}))
    })
    .collect()
}
