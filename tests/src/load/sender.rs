//! Workers that sign and send bodies, at a steady rate or as fast as answers come.

use super::{Payload, Report};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// Longest wait that a `Retry-After` is followed for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Where to send, and with which secret.
#[derive(Clone)]
pub struct Target {
    /// The whole URL of the endpoint.
    pub url: String,
    /// The endpoint's signing secret, `whsec_…`.
    pub secret: String,
}

impl Target {
    /// The endpoint of this name behind an address such as `http://127.0.0.1:8080`.
    pub fn new(base: &str, endpoint: &str, secret: impl Into<String>) -> Self {
        let mut url = format!("{}/webhooks/stripe", base.trim_end_matches('/'));
        if endpoint != "default" {
            url.push('/');
            url.push_str(endpoint);
        }
        Self { url, secret: secret.into() }
    }
}

/// How to send.
#[derive(Clone)]
pub struct Sender {
    client: reqwest::Client,
    target: Target,
    /// Requests at the same time.
    pub concurrency: usize,
    /// Requests a second; `None` for as fast as answers come.
    pub rate: Option<f64>,
    /// How often a request is sent again after a 503.
    pub retries: usize,
}

impl Sender {
    /// Sends to this target, waiting this long for each answer.
    pub fn new(target: Target, timeout: Duration) -> reqwest::Result<Self> {
        // An answer is judged as it is: no redirects, no proxy between.
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { client, target, concurrency: 8, rate: None, retries: 0 })
    }

    /// Sends every payload once, in order as far as concurrency lets it; `done` is called after
    /// each.
    pub async fn send(
        &self,
        payloads: Vec<Payload>,
        done: impl Fn() + Clone + Send + 'static,
    ) -> Report {
        let payloads: Arc<[Payload]> = payloads.into();
        let next = Arc::new(AtomicUsize::new(0));
        let start = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..self.concurrency.clamp(1, payloads.len().max(1)) {
            let (sender, payloads, next) = (self.clone(), Arc::clone(&payloads), Arc::clone(&next));
            let done = done.clone();
            workers.spawn(async move {
                let mut report = Report::default();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(payload) = payloads.get(index) else { break };
                    let due = sender.due(start, index);
                    sleep_until(due).await;
                    sender.deliver(payload, due, &mut report).await;
                    report.took = start.elapsed();
                    done();
                }
                report
            });
        }
        let mut report = Report::default();
        for part in workers.join_all().await {
            report.add(&part);
        }
        report
    }

    /// With a rate, a request that had to wait for a worker counts its waiting as latency.
    #[expect(clippy::cast_precision_loss)]
    fn due(&self, start: Instant, index: usize) -> Instant {
        match self.rate {
            Some(rate) => start + Duration::from_secs_f64(index as f64 / rate),
            None => Instant::now(),
        }
    }

    async fn deliver(&self, payload: &Payload, due: Instant, report: &mut Report) {
        report.sent += 1;
        let mut left = self.retries;
        let outcome = loop {
            match self.attempt(&payload.body).await {
                Ok((StatusCode::SERVICE_UNAVAILABLE, wait)) if left > 0 => {
                    left -= 1;
                    report.retries += 1;
                    sleep(wait).await;
                }
                outcome => break outcome,
            }
        };
        report.latency.record(due.elapsed());
        match outcome {
            Ok((status, _)) => *report.answers.entry(status.as_u16()).or_default() += 1,
            Err(error) => *report.unanswered.entry(cause(&error)).or_default() += 1,
        }
    }

    /// Status, and how long to wait before trying again.
    async fn attempt(&self, body: &[u8]) -> reqwest::Result<(StatusCode, Duration)> {
        // Signed anew each time, as Stripe does.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = domain::signature::sign(&self.target.secret, now, body);
        let request = self
            .client
            .post(&self.target.url)
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header(USER_AGENT, "webhook-load (Stripe/1.0)")
            .header("stripe-signature", signature)
            .body(body.to_vec());
        let response = request.send().await?;
        let status = response.status();
        let seconds = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .unwrap_or(1);
        // Reading to the end lets the connection serve the next request.
        response.bytes().await?;
        Ok((status, Duration::from_secs(seconds).min(RETRY_AFTER_MAX)))
    }
}

fn cause(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "no connection"
    } else {
        "connection broken"
    }
}
