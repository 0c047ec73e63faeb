//! What people see: a real Prometheus scrapes the real binaries while traffic comes and parts of the
//! system fail. Every query of every rule and panel answers, and alerts see what went wrong.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use dashboards::query::over;
use dashboards::{boards, rules};
use harness::load::{Sender, Target, generated};
use harness::process::free_address;
use harness::prometheus::Prometheus;
use harness::stack::eventually;
use harness::system::{Ingest, Reconciler, SECRET, System};
use lifecycles::Stripe;
use tokio::task::JoinHandle;

use crate::system;
use crate::way::Way;

const DEADLINE: Duration = Duration::from_secs(90);
/// How long the longest of these tests may take, in minutes: over this time queries are asked.
const MINUTES: u64 = 10;

/// Queries that have nothing to answer here: part of the query, and why.
const SILENT: [(&str, &str); 3] = [
    ("ingest_certificate_expiry_timestamp_seconds", "there only with TLS"),
    ("offset 1w", "asks for last week"),
    ("ingest_topic_warning", "there only while a topic's settings are dangerous"),
];

/// Every query of every rule and panel, for every job and instance, with where it comes from.
fn queries() -> BTreeMap<String, String> {
    let mut queries = BTreeMap::new();
    for board in boards::all() {
        let board = board.json();
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = target["expr"].as_str().unwrap();
                let query = query.replace("$__rate_interval", "10s").replace("$job", ".+");
                let place = format!("{}: {}", board["title"], panel["title"]);
                queries.insert(query.replace("$instance", ".+"), place);
            }
        }
    }
    for group in rules::all() {
        for record in group.records {
            queries.insert(record.name.clone(), record.name);
        }
        for alert in group.alerts {
            let judged = alert.condition.queries.into_iter();
            queries.extend(judged.map(|query| (over(&query, "5m"), alert.name.to_owned())));
        }
    }
    queries
}

fn committed_rules() -> Vec<PathBuf> {
    let directory = dashboards::directory();
    let names = dashboards::files().into_iter().map(|(name, _)| name);
    names.filter(|name| name.ends_with(".rules.yml")).map(|name| directory.join(name)).collect()
}

/// Sends lifecycles to an endpoint, again and again with other ids, until it is dropped.
fn traffic(ingest: &Ingest, endpoint: &str, secret: &str, seed: u64) -> JoinHandle<()> {
    let target = Target::new(&format!("http://{}", ingest.listen), endpoint, secret);
    let mut sender = Sender::new(target, Duration::from_secs(30)).unwrap();
    (sender.rate, sender.concurrency) = (Some(25.0), 4);
    tokio::spawn(async move {
        for seed in seed.. {
            let lives = Stripe::new(seed, 1_760_000_000).mixed(10);
            sender.send(generated(&lives), || ()).await;
        }
    })
}

/// What is watched: two processes of the reconciler, so that one can end while the other goes on.
struct Watched {
    system: System,
    ingest: Ingest,
    project_admin: SocketAddr,
    /// None while it is ended.
    project: Option<Reconciler>,
    /// Keeps the roles archive and publish running.
    _others: Reconciler,
    way: Way,
    prometheus: Prometheus,
}

impl Watched {
    async fn start() -> Self {
        let system = system("observed").await;
        let way = Way::shut_to_aws();
        way.open();
        let secrets = format!("{SECRET},eu:whsec_eu");
        let more = [
            ("STRIPE_WEBHOOK_SECRETS", secrets.as_str()),
            ("INGEST_MAX_CONNECTIONS", "100"),
            ("KAFKA_DELIVERY_TIMEOUT", "2s"),
        ];
        let ingest = system.ingest("ingest", &more).await.unwrap();
        let project_admin = free_address().unwrap();
        let endpoint = format!("http://{}", way.from);
        let more = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("SAMPLE_INTERVAL", "500ms"),
            ("SAMPLE_LEDGER_INTERVAL", "1s"),
        ];
        let others = system.reconciler("others", "archive,publish", &more).await.unwrap();
        let targets =
            [("ingest", ingest.admin), ("reconciler", project_admin), ("reconciler", others.admin)];
        let rules = committed_rules();
        let prometheus = Prometheus::start(&system.logs, &rules, &targets).await.unwrap();
        let mut watched =
            Self { system, ingest, project_admin, project: None, _others: others, way, prometheus };
        watched.start_project("project");
        watched
    }

    /// Starts the process with the role project, and others, at its address.
    fn start_project(&mut self, roles: &str) {
        let admin = self.project_admin.to_string();
        let more = [
            ("RECONCILER_ADMIN_LISTEN", admin.as_str()),
            ("SAMPLE_INTERVAL", "500ms"),
            ("SAMPLE_LEDGER_INTERVAL", "1s"),
        ];
        self.project = Some(self.system.start_reconciler("project", roles, &more).unwrap());
    }

    /// Ends it as a crash would.
    fn kill_project(&mut self) {
        self.project.take().unwrap().process.kill().unwrap();
    }

    async fn sql(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.system.pool).await.unwrap();
    }

    /// Waits until the conditions of all these alerts hold.
    async fn sees(&self, wanted: &[&str]) {
        let look = async || {
            let alerts: BTreeSet<String> = self.prometheus.alerts().await?.into_iter().collect();
            let missing: Vec<_> = wanted.iter().filter(|name| !alerts.contains(**name)).collect();
            Ok((!missing.is_empty()).then(|| format!("not seen: {missing:?}, but {alerts:?}")))
        };
        eventually(DEADLINE, look).await.unwrap();
    }

    /// No alert, and every part of the top row is green.
    async fn all_is_well(&self) {
        let alerts = self.prometheus.alerts().await.unwrap();
        assert_eq!(alerts, Vec::<String>::new(), "in a healthy system");
        assert_eq!(self.prometheus.broken_rules().await.unwrap(), []);
        for title in ["Us", "Kafka", "PostgreSQL", "AWS", "Stripe", "Money"] {
            let states = self.prometheus.query(&which_part(title)).await.unwrap();
            let states: Vec<f64> = states.into_iter().map(|(_, state)| state).collect();
            assert_eq!(states, [0.0], "{title} in a healthy system");
        }
    }

    /// Waits until a part of the top row is red.
    async fn blames(&self, title: &str) {
        let query = which_part(title);
        let look = async || {
            let states = self.prometheus.query(&query).await?;
            let is_red = states.first().is_some_and(|(_, state)| *state > 0.0);
            Ok((!is_red).then(|| format!("the part {title} is not blamed: {states:?}")))
        };
        eventually(DEADLINE, look).await.unwrap();
    }
}

/// The query of a part of the top row, which every dashboard has.
fn which_part(title: &str) -> String {
    let end = format!(": \"{title}\"");
    let found = queries().into_iter().find(|(_, place)| place.ends_with(&end));
    found.unwrap_or_else(|| panic!("no panel {title}")).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_answers_and_alerts_see_what_fails() {
    let mut it = Watched::start().await;
    let good = traffic(&it.ingest, "default", SECRET, 5);
    it.healthy().await;
    it.bad_requests().await;
    it.bad_data().await;
    it.aws_away().await;
    it.postgres_restless().await;
    it.project_gone().await;
    it.paused().await;
    it.every_query_answers().await;
    good.abort();
    it.records_lost().await;
    it.topic_gone().await;
}

impl Watched {
    async fn every_query_answers(&self) {
        let silent = |query: &str| SILENT.iter().any(|(part, _)| query.contains(part));
        let mut unanswered = BTreeMap::new();
        let mut needless: BTreeSet<&str> = SILENT.iter().map(|(part, _)| *part).collect();
        for (query, place) in queries() {
            needless.retain(|part| !query.contains(part));
            if !silent(&query) && !self.prometheus.answered(&query, MINUTES).await.unwrap() {
                unanswered.insert(query, place);
            }
        }
        assert_eq!(unanswered, BTreeMap::new(), "queries without an answer");
        assert_eq!(needless, BTreeSet::new(), "no query has these any more");
        assert_eq!(self.prometheus.broken_rules().await.unwrap(), []);
    }
}
