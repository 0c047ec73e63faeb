//! The demo: whole lifecycles through every real part, and what they came to.

mod found;
mod show;

use crate::inputs;
use crate::load::{self, Payload, Report};
use crate::stack::Stack;
use crate::system::{Ingest, Reconciler, System};
use anyhow::Context as _;
use found::Found;
use lifecycles::{Delivery, Lifecycle, Rng, Scenario, Stripe};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Partitions of the demo's topic, as many as the stack's own has.
const PARTITIONS: i32 = 12;
/// Lifecycles reach into the future from their start; so they start this long ago.
const PAST: Duration = Duration::from_hours(24 * 120);

/// What a person can choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many lifecycles.
    pub lifecycles: usize,
    /// Share of requests that come twice.
    pub duplicates: f64,
    /// Seed of events and their order.
    pub seed: u64,
    /// Real payloads to send along, where the folder is there.
    pub corpus: PathBuf,
    /// How long each wait may take.
    pub deadline: Duration,
    /// Leave everything running.
    pub keep: bool,
}

/// What is sent, and what it must come to.
struct Plan {
    lifecycles: Vec<Lifecycle>,
    /// Distinct events of lifecycles and corpus.
    distinct: Vec<Payload>,
    from_corpus: usize,
    /// As they are sent: repeated and out of order.
    sent: Vec<Payload>,
}

/// Plays the demo; true if everything that was found is what was sent.
pub async fn play(options: &Options) -> anyhow::Result<bool> {
    let begin = Instant::now();
    let stack = Stack::from_env().await?;
    step("making two topics, a database and a delivery stream for this run");
    let mut system = System::create(&stack, "demo", PARTITIONS).await?;
    let plan = plan(options)?;
    // Half of the quotes and providers are there before the first event, the others come later.
    let (early, late) = plan.lifecycles.split_at(plan.lifecycles.len() / 2);
    inputs::write(&system.pool, early).await?;

    step("starting ingest and reconciler");
    let addresses = scraped_addresses();
    let addresses: Vec<_> = addresses.iter().map(|(name, at)| (*name, at.as_str())).collect();
    let ingest = system.ingest("ingest", &addresses).await?;
    let reconciler = system.reconciler("reconciler", "project,archive,publish", &addresses).await?;

    step(&format!("sending {} requests", plan.sent.len()));
    let mut sender = ingest.sender()?;
    sender.concurrency = 16;
    sender.retries = 5;
    let sending = sender.send(plan.sent.clone(), || ());
    let (report, written) = tokio::join!(sending, inputs::write(&system.pool, late));
    written?;

    step("waiting until all is applied, archived and published");
    system.caught_up(&["project", "archive"], options.deadline).await?;
    system.published(options.deadline).await?;
    let found = Found::read(&system, &plan).await?;

    show::sent(&plan, &report);
    show::rows(&plan, &found);
    show::story(&system, story_id(&plan.lifecycles))?;
    show::ledger(&found);
    show::archive(&found);
    show::domain_events(&found);
    show::latency(&found);
    let differences = differences(&plan, &report, &found);
    show::verdict(&differences, begin.elapsed());

    if options.keep {
        system.keep();
        show::where_to_look(&system, &ingest, &reconciler);
        ingest.process.leave_running();
        reconciler.process.leave_running();
    } else {
        step("ending ingest and reconciler");
        end(ingest, reconciler).await?;
    }
    Ok(differences.is_empty())
}

/// The addresses that the stack's Prometheus scrapes, unless another run has them.
fn scraped_addresses() -> Vec<(&'static str, String)> {
    let names = ["INGEST_LISTEN", "INGEST_ADMIN_LISTEN", "RECONCILER_ADMIN_LISTEN"];
    let addresses = names.map(|name| std::env::var(name).ok().map(|address| (name, address)));
    let is_free = |address: &str| TcpListener::bind(address).is_ok();
    match addresses.into_iter().collect::<Option<Vec<_>>>() {
        Some(addresses) if addresses.iter().all(|(_, address)| is_free(address)) => addresses,
        _ => Vec::new(),
    }
}

async fn end(ingest: Ingest, reconciler: Reconciler) -> anyhow::Result<()> {
    let deadline = Duration::from_secs(30);
    for (name, process) in [("ingest", ingest.process), ("reconciler", reconciler.process)] {
        let status = process.terminate(deadline).await?;
        anyhow::ensure!(status.success(), "{name} ended with {status} after SIGTERM");
    }
    Ok(())
}

fn plan(options: &Options) -> anyhow::Result<Plan> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let start = now.saturating_sub(PAST).as_secs();
    let mut stripe = Stripe::new(options.seed, start.cast_signed());
    let lifecycles = stripe.mixed(options.lifecycles);
    let mut distinct = load::generated(&lifecycles);
    let from_lifecycles = distinct.len();
    let events = options.corpus.join("events");
    if events.is_dir() {
        let mut ids = Rng::new(!options.seed);
        let corpus = load::read(&events)?;
        distinct.extend(corpus.into_iter().map(|payload| payload.with_new_id(&mut ids)));
    }
    let mut delivery = Delivery::new(options.seed);
    let mut sent = delivery.duplicated(&distinct, options.duplicates);
    delivery.shuffle(&mut sent);
    Ok(Plan { from_corpus: distinct.len() - from_lifecycles, lifecycles, distinct, sent })
}

/// The payment whose story is told: one with a dispute, if there is one.
fn story_id(lifecycles: &[Lifecycle]) -> Option<&str> {
    let disputed = lifecycles.iter().find(|story| story.scenario == Scenario::DisputeWon);
    let story = disputed.or_else(|| lifecycles.first())?;
    story.truth.txns.first()?.stripe_pi.as_deref()
}

/// Everything that is not as it must be, a line each.
fn differences(plan: &Plan, report: &Report, found: &Found) -> Vec<String> {
    let mut lines = crate::comparison::differences(&found.expected, &found.lines);
    if !report.is_all_accepted() {
        lines.push(format!("not every request was answered 200: {:?}", report.outcomes()));
    }
    let mut equal = |what: &str, is: usize, must_be: usize| {
        if is != must_be {
            lines.push(format!("{what}: {is}, expected {must_be}"));
        }
    };
    equal("records in the topic", found.records, plan.sent.len());
    equal("distinct events recorded", found.events, plan.distinct.len());
    equal("records in the archive", found.archived, found.records);
    equal("records whose archived body differs from the topic's", found.altered, 0);
    for (sink, delivered) in &found.sinks {
        let delivered = delivered.distinct();
        let lost = found.facts.difference(&delivered);
        lines.extend(lost.map(|fact| format!("{sink} did not get the fact {fact}")));
        let invented = delivered.difference(&found.facts);
        lines.extend(invented.map(|fact| format!("{sink} got what is no fact: {fact}")));
    }
    let unbalanced =
        found.ledger.iter().filter(|(_, accounts)| accounts.values().sum::<i64>() != 0);
    lines.extend(unbalanced.map(|(currency, _)| format!("the ledger in {currency} is not zero")));
    lines
}

/// What is being done now, on stderr.
fn step(what: &str) {
    eprintln!("demo: {what}");
}

/// The corpus beside the project, unless `CORPUS_DIR` says otherwise.
pub fn default_corpus() -> PathBuf {
    std::env::var_os("CORPUS_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus")),
        PathBuf::from,
    )
}

/// Plays the demo from a program without a runtime of its own.
pub fn play_blocking(options: &Options) -> anyhow::Result<bool> {
    tokio::runtime::Runtime::new().context("starting the runtime")?.block_on(play(options))
}
