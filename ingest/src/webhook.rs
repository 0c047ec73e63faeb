//! One request: read, verify, peek, publish, await the acknowledgement, answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use domain::endpoint::{DEFAULT, Endpoint, Endpoints};
use domain::peek::{Peek, peek};
use domain::record::header;
use domain::signature::{self, Refusal};
use http_body_util::Full;
use hyper::body::Body;
use hyper::{HeaderMap, Method, Request, Response, Version};
use metrics::{SharedString, counter, gauge, histogram};
use tokio::sync::Semaphore;

use crate::answer::Answer;
use crate::body::{self, BodyError, Received};
use crate::config::Settings;
use crate::publish::{Publish, PublishError, Record};
use crate::telemetry;

const PATH: &str = "/webhooks/stripe";
/// Metric label of requests that reach no endpoint.
const NO_ENDPOINT: &str = "none";

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Webhooks<P> {
    endpoints: ArcSwap<Endpoints>,
    publisher: Arc<P>,
    tolerance_s: u64,
    body_max: usize,
    body_timeout: Duration,
    delivery_timeout: Duration,
    requests: Semaphore,
    requests_max: usize,
    bytes: Arc<Semaphore>,
    bytes_max: usize,
    open: AtomicBool,
    closing: AtomicBool,
}

impl<P: Publish> Webhooks<P> {
    pub(crate) fn new(settings: &Settings, endpoints: Endpoints, publisher: Arc<P>) -> Self {
        let limits = &settings.limits;
        let this = Self {
            endpoints: ArcSwap::default(),
            publisher,
            tolerance_s: settings.stripe.stripe_signature_tolerance.as_secs(),
            body_max: limits.ingest_max_body_bytes,
            body_timeout: limits.ingest_body_timeout,
            delivery_timeout: settings.kafka_delivery_timeout,
            requests: Semaphore::new(limits.ingest_max_in_flight),
            requests_max: limits.ingest_max_in_flight,
            bytes: Arc::new(Semaphore::new(limits.ingest_max_in_flight_bytes)),
            bytes_max: limits.ingest_max_in_flight_bytes,
            open: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        };
        this.replace_endpoints(endpoints);
        this
    }

    /// From now on these endpoints and secrets count; requests in progress keep theirs.
    pub(crate) fn replace_endpoints(&self, endpoints: Endpoints) {
        for gone in self.endpoints.load().iter() {
            gauge!(telemetry::SECRETS, "endpoint" => label(&gone.name)).set(0);
        }
        for endpoint in endpoints.iter() {
            gauge!(telemetry::SECRETS, "endpoint" => label(&endpoint.name))
                .set(u32::try_from(endpoint.keys.len()).unwrap_or(u32::MAX));
        }
        self.endpoints.store(Arc::new(endpoints));
    }

    /// The topic is known to be sound: no more 503 for everything.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// Asks every HTTP/1 sender to leave, as its next answer says.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Answers one request.
    pub(crate) async fn respond<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let started = Instant::now();
        let http1 = request.version() < Version::HTTP_2;
        let mut unread = !request.body().is_end_stream();
        let endpoint =
            endpoint_name(request.uri().path()).and_then(|n| self.endpoints.load().get(n));
        let (name, answer) = match endpoint {
            None => (SharedString::const_str(NO_ENDPOINT), Answer::NotFound),
            Some(endpoint) if request.method() != Method::POST => {
                (label(&endpoint.name), Answer::MethodNotAllowed)
            }
            Some(endpoint) if !self.open.load(Ordering::Relaxed) => {
                (label(&endpoint.name), Answer::Unavailable)
            }
            Some(endpoint) => {
                let (head, body) = request.into_parts();
                let answer = match self.read(&endpoint, body).await {
                    Ok(received) => {
                        unread = false;
                        self.accept(&endpoint, &head.headers, received).await
                    }
                    Err(answer) => answer,
                };
                (label(&endpoint.name), answer)
            }
        };
        if let Answer::Refused(refusal) = answer {
            counter!(telemetry::REFUSALS, "endpoint" => name.clone(), "reason" => refusal.code())
                .increment(1);
        }
        self.show_in_flight();
        let outcome = answer.outcome();
        counter!(telemetry::REQUESTS, "endpoint" => name, "outcome" => outcome).increment(1);
        histogram!(telemetry::REQUEST_SECONDS, "outcome" => outcome).record(started.elapsed());
        // A sender whose body was not read to its end cannot be heard any more.
        let close = http1 && (unread || self.closing.load(Ordering::Relaxed));
        answer.response(close)
    }

    /// Reads the whole body; otherwise tells what to answer.
    async fn read<B>(&self, endpoint: &Endpoint, body: B) -> Result<Received, Answer>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        body::read(body, self.body_max, &self.bytes, self.body_timeout).await.map_err(|error| {
            tracing::warn!(endpoint = &*endpoint.name, ?error, "no body");
            match error {
                BodyError::TooLarge => Answer::TooLarge,
                BodyError::NoBudget => Answer::Overloaded,
                BodyError::TimedOut => Answer::BodyTimedOut,
                BodyError::Incomplete => Answer::BodyIncomplete,
            }
        })
    }

    /// Verifies, publishes and waits for the acknowledgement. Only what is verified takes one of
    /// the places in flight: whoever has no secret can keep none of them.
    async fn accept(&self, endpoint: &Endpoint, headers: &HeaderMap, received: Received) -> Answer {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Err(refusal) = self.verify(endpoint, headers, &received.bytes, now.as_secs()) {
            tracing::info!(endpoint = &*endpoint.name, reason = refusal.code(), "refused");
            return Answer::Refused(refusal);
        }
        let Ok(_place) = self.requests.try_acquire() else {
            tracing::warn!(endpoint = &*endpoint.name, "refused: INGEST_MAX_IN_FLIGHT is reached");
            return Answer::Overloaded;
        };
        self.show_in_flight();
        let sent = Instant::now();
        let acknowledgement = self.publish(endpoint, headers, &received.bytes, now);
        // The producer has its own copy; only the share of the budget is kept until it is done.
        let Received { bytes, share: _share } = received;
        drop(bytes);
        let verdict = match acknowledgement {
            Err(error) => Err(error),
            Ok(coming) => match tokio::time::timeout(self.delivery_timeout, coming).await {
                Ok(Ok(verdict)) => verdict,
                Ok(Err(_)) => Err(PublishError::Fatal),
                Err(_) => Err(PublishError::TimedOut),
            },
        };
        histogram!(telemetry::PUBLISH_SECONDS).record(sent.elapsed());
        match verdict {
            Ok(()) => Answer::Accepted,
            Err(error) => {
                counter!(telemetry::PUBLISH_ERRORS, "reason" => error.code()).increment(1);
                tracing::error!(endpoint = &*endpoint.name, %error, "not acknowledged");
                if error == PublishError::TooLarge { Answer::TooLarge } else { Answer::Unavailable }
            }
        }
    }

    fn verify(
        &self,
        endpoint: &Endpoint,
        headers: &HeaderMap,
        body: &[u8],
        now_s: u64,
    ) -> Result<(), Refusal> {
        let header = signature_header(headers)?;
        let index = signature::verify(header, body, &endpoint.keys, now_s, self.tolerance_s)?;
        counter!(
            telemetry::SECRET_MATCHES,
            "endpoint" => label(&endpoint.name), "secret" => index.to_string()
        )
        .increment(1);
        if let Some(Ok(signature)) = header.map(signature::parse) {
            let age = now_s.saturating_sub(signature.timestamp);
            histogram!(telemetry::SIGNATURE_AGE).record(Duration::from_secs(age));
        }
        Ok(())
    }

    fn publish(
        &self,
        endpoint: &Endpoint,
        headers: &HeaderMap,
        body: &[u8],
        now: Duration,
    ) -> Result<crate::publish::Acknowledgement, PublishError> {
        let seen = peek(body);
        if !seen.json {
            counter!(telemetry::NOT_JSON, "endpoint" => label(&endpoint.name)).increment(1);
        }
        histogram!(telemetry::BODY_BYTES).record(u32::try_from(body.len()).unwrap_or(u32::MAX));
        let created = seen.created.map(|created| created.to_string());
        let received_at = now.as_millis().to_string();
        let headers = record_headers(endpoint, headers, &seen, created.as_deref(), &received_at);
        self.publisher.publish(&Record { key: &seen.key, body, headers })
    }

    fn show_in_flight(&self) {
        let used = |max: usize, left: usize| u32::try_from(max.saturating_sub(left));
        gauge!(telemetry::IN_FLIGHT)
            .set(used(self.requests_max, self.requests.available_permits()).unwrap_or(u32::MAX));
        gauge!(telemetry::IN_FLIGHT_BYTES)
            .set(used(self.bytes_max, self.bytes.available_permits()).unwrap_or(u32::MAX));
    }
}

fn label(name: &Arc<str>) -> SharedString {
    SharedString::from(Arc::clone(name))
}

/// The endpoint that a path names. One trailing slash is accepted.
fn endpoint_name(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(PATH)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() { Some(DEFAULT) } else { rest.strip_prefix('/') }
}

/// The header, if there is one. Several, or bytes that no signature has, are malformed.
fn signature_header(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all("stripe-signature").iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => Err(Refusal::MalformedHeader),
    }
}

/// What is known of the record, as the raw topic's headers.
fn record_headers<'a>(
    endpoint: &'a Endpoint,
    headers: &'a HeaderMap,
    seen: &'a Peek<'_>,
    created: Option<&'a str>,
    received_at: &'a str,
) -> Vec<(&'static str, &'a [u8])> {
    let livemode = seen.livemode.map(|live| if live { "true" } else { "false" });
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
    let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok());
    [
        (header::EVENT_ID, seen.id.as_deref()),
        (header::EVENT_TYPE, seen.event_type.as_deref()),
        (header::ENDPOINT, Some(&*endpoint.name)),
        (header::ACCOUNT, seen.account.as_deref().or(endpoint.account.as_deref())),
        (header::API_VERSION, seen.api_version.as_deref()),
        (header::LIVEMODE, livemode),
        (header::CREATED, created),
        (header::RECEIVED_AT, Some(received_at)),
        (header::STRIPE_SIGNATURE, signature),
        (header::TRACEPARENT, traceparent.filter(|text| is_traceparent(text))),
        (header::SOURCE, Some("webhook")),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?.as_bytes())))
    .collect()
}

/// Whether this is a W3C `traceparent`: version, trace id, parent id and flags in lower-case hex.
fn is_traceparent(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 55
        && text.bytes().enumerate().all(|(index, byte)| match index {
            2 | 35 | 52 => byte == b'-',
            _ => hex(byte),
        })
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
