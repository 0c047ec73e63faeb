//! `webhook-load`: signs and sends webhooks, and says how they were answered.
#![forbid(unsafe_code)]

use anyhow::Context as _;
use clap::Parser;
use comfy_table::{Table, presets};
use harness::load::{self, Payload, Sender, Target};
use indicatif::{ProgressBar, ProgressStyle};
use lifecycles::{Delivery, Rng, Scenario, Stripe};
use service::exit::{self, ConfigError, Outcome};
use service::secret::{self, ExposeSecret as _, SecretString};
use service::units;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Sign webhook bodies as Stripe does, send them, and report the answers.
///
/// Sends files (`--file`), or whole payment lifecycles that a model of Stripe makes up
/// (`--lifecycles`). Every request is signed with the time of its sending.
///
/// Exit codes: 0 every request was answered 2xx, 3 some were not, 1 failed, 2 bad usage.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(name = "webhook-load", version, after_help = EXAMPLES)]
struct Options {
    /// File or directory to send: one body a file, `.jsonl` one a line; may be repeated
    #[arg(long, value_name = "PATH")]
    file: Vec<PathBuf>,
    /// Give every event from files an id of its own: samples often share one
    #[arg(long)]
    rewrite_ids: bool,
    /// Lifecycles to make up
    #[arg(long, value_name = "N", default_value_t = 0)]
    lifecycles: usize,
    /// Which lifecycles, comma separated, `NAME` or `NAME=WEIGHT`; all in turn if not given
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    mix: Vec<Weighted>,
    /// List the lifecycles that there are, and end
    #[arg(long)]
    list: bool,
    /// The same seed makes the same events, ids included [default: the time]
    #[arg(long)]
    seed: Option<u64>,

    /// Requests a second [default: as fast as answers come]
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,
    /// Requests at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Share of bodies that are sent twice, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    duplicates: f64,
    /// Send in random order
    #[arg(long)]
    shuffle: bool,
    /// How long to wait for an answer
    #[arg(long, default_value = "20s", value_parser = units::duration)]
    timeout: Duration,
    /// How often to send again after a 503
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    retry: usize,

    /// Address of the ingress
    #[arg(long, env = "INGEST_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Endpoint: `default` is /webhooks/stripe, others are /webhooks/stripe/NAME
    #[arg(long, default_value = "default")]
    endpoint: String,
    /// Signing secrets, as ingest takes them; the endpoint's first one signs
    #[arg(long, env, hide_env_values = true)]
    stripe_webhook_secrets: Option<SecretString>,
    /// File that holds the secrets
    #[arg(long, env)]
    stripe_webhook_secrets_file: Option<PathBuf>,
    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
}

/// Lifecycles reach into the future from their start; so they start this long ago.
const PAST: Duration = Duration::from_hours(24 * 120);

const EXAMPLES: &str = "\
Examples:
  webhook-load --lifecycles 100 --duplicates 0.2 --shuffle
  webhook-load --lifecycles 1000 --mix paid=8,dispute_won --rate 200 --concurrency 32
  webhook-load --file events/ --rewrite-ids --url http://127.0.0.1:8080
  STRIPE_WEBHOOK_SECRETS=eu:whsec_... webhook-load --endpoint eu --file event.json";

fn main() -> ExitCode {
    let options: Options = exit::parse();
    exit::code(run(&options))
}

#[tokio::main]
async fn run(options: &Options) -> anyhow::Result<Outcome> {
    if options.list {
        list();
        return Ok(Outcome::Done);
    }
    let sender = sender(options)?;
    let payloads = payloads(options)?;
    let progress = progress(payloads.len());
    let ticker = progress.clone();
    let report = sender.send(payloads, move || ticker.inc(1)).await;
    progress.finish_and_clear();

    if options.json {
        println!("{}", report.to_json());
    } else {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY).set_header(["answer", "requests"]);
        for (outcome, count) in report.outcomes() {
            table.add_row([outcome, count.to_string()]);
        }
        println!("{table}");
        let took = report.took.as_secs_f64();
        println!("{} sent in {took:.1} s, {:.0} a second", report.sent, report.rate());
        if report.retries > 0 {
            println!("{} sent again after a 503", report.retries);
        }
        let latency = report.latency.summary().map(|(name, ms)| format!("{name} {ms:.1}"));
        println!("latency in ms: {}", latency.join(", "));
    }
    Ok(if report.is_all_accepted() { Outcome::Done } else { Outcome::Found })
}

fn sender(options: &Options) -> anyhow::Result<Sender> {
    let secrets = secret::required(
        "STRIPE_WEBHOOK_SECRETS",
        options.stripe_webhook_secrets.as_ref(),
        options.stripe_webhook_secrets_file.as_deref(),
    )?;
    let endpoint = options.endpoint.as_str();
    let secret = load::signing_secret(secrets.expose_secret(), endpoint).ok_or_else(|| {
        ConfigError::new("STRIPE_WEBHOOK_SECRETS", format!("has no secret for {endpoint}"))
    })?;
    let target = Target::new(&options.url, endpoint, secret);
    if let Err(error) = reqwest::Url::parse(&target.url) {
        return Err(ConfigError::new("INGEST_URL", error.to_string()).into());
    }
    let mut sender = Sender::new(target, options.timeout).context("making the HTTP client")?;
    sender.concurrency = usize::from(options.concurrency);
    sender.rate = options.rate;
    sender.retries = options.retry;
    Ok(sender)
}

/// Everything to send, in its order.
fn payloads(options: &Options) -> anyhow::Result<Vec<Payload>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = options.seed.unwrap_or(now.as_secs() << 20 | u64::from(now.subsec_micros()));
    let mut rng = Rng::new(seed);
    let mut payloads = Vec::new();
    for path in &options.file {
        payloads.extend(load::read(path)?);
    }
    if options.rewrite_ids {
        payloads = payloads.into_iter().map(|payload| payload.with_new_id(&mut rng)).collect();
    }
    let start = now.saturating_sub(PAST).as_secs().cast_signed();
    let mut stripe = Stripe::new(rng.bits(), start);
    let lifecycles: Vec<_> = if options.mix.is_empty() {
        stripe.mixed(options.lifecycles)
    } else {
        let mix: Vec<_> =
            options.mix.iter().flat_map(|part| vec![part.scenario; part.weight]).collect();
        (0..options.lifecycles).map(|_| stripe.lifecycle(rng.pick(&mix))).collect()
    };
    payloads.extend(load::generated(&lifecycles));
    if payloads.is_empty() {
        return Err(ConfigError::new("--file, --lifecycles", "nothing to send; see --help").into());
    }
    let mut delivery = Delivery::new(seed);
    payloads = delivery.duplicated(&payloads, options.duplicates);
    if options.shuffle {
        delivery.shuffle(&mut payloads);
    }
    Ok(payloads)
}

/// A bar on terminals, nothing elsewhere.
fn progress(total: usize) -> ProgressBar {
    let bar = ProgressBar::new(total as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}

fn list() {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for scenario in Scenario::ALL {
        table.add_row([scenario.name(), scenario.about()]);
    }
    println!("{table}");
}

/// A scenario and how often it comes, compared with the others.
#[derive(Debug, Clone)]
struct Weighted {
    scenario: Scenario,
    weight: usize,
}

impl FromStr for Weighted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
        let scenario = name.parse().map_err(|error| format!("{error}"))?;
        let weight = weight.parse().ok().filter(|weight| (1..=1000).contains(weight));
        let weight = weight.ok_or_else(|| format!("`{text}`: a weight is 1 to 1000"))?;
        Ok(Self { scenario, weight })
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("must be 0 to 1".to_owned()) }
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let fits = number > 0.0 && number <= 1e6;
    if fits { Ok(number) } else { Err("must be above 0, and at most a million".to_owned()) }
}
