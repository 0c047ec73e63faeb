//! One request: read, verify, peek, publish, await the acknowledgement, answer.

use std::collections::BTreeMap;
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
use service::traces::Traces;
use tokio::sync::Semaphore;

use crate::answer::Answer;
use crate::body::{self, BodyError, Received};
use crate::config::Settings;
use crate::metrics::{self, EndpointMeter, Meter};
use crate::publish::{Publish, PublishError, Record};
use crate::trace::{Publishing, Trace};

const PATH: &str = "/webhooks/stripe";
/// Metric label of requests that reach no endpoint.
const NO_ENDPOINT: &str = "none";

/// An endpoint, and what is measured of it.
struct Served {
    endpoint: Arc<Endpoint>,
    meter: EndpointMeter,
}

/// What every request needs.
pub(crate) struct Webhooks<P> {
    endpoints: ArcSwap<BTreeMap<Arc<str>, Arc<Served>>>,
    meter: Meter,
    nowhere: EndpointMeter,
    publisher: Arc<P>,
    traces: Traces,
    topic: String,
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
    pub(crate) fn new(
        settings: &Settings,
        endpoints: &Endpoints,
        publisher: Arc<P>,
        traces: Traces,
    ) -> Self {
        let limits = &settings.limits;
        let this = Self {
            endpoints: ArcSwap::default(),
            meter: Meter::new(),
            nowhere: EndpointMeter::new(NO_ENDPOINT, 0),
            publisher,
            traces,
            topic: settings.kafka.kafka_topic.clone(),
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
    pub(crate) fn replace_endpoints(&self, endpoints: &Endpoints) {
        for gone in self.endpoints.load().values() {
            metrics::SECRETS.with([&gone.endpoint.name]).set(0);
            show_secrets(&gone.endpoint, 0);
        }
        let served = endpoints.iter().map(|endpoint| {
            let (name, secrets) = (Arc::clone(&endpoint.name), endpoint.keys.len());
            metrics::SECRETS.with([&name]).set(u32::try_from(secrets).unwrap_or(u32::MAX));
            show_secrets(endpoint, 1);
            let meter = EndpointMeter::new(&name, secrets);
            (name, Arc::new(Served { endpoint: Arc::clone(endpoint), meter }))
        });
        self.endpoints.store(Arc::new(served.collect()));
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
        let served = endpoint_name(request.uri().path())
            .and_then(|name| self.endpoints.load().get(name).cloned());
        let answer = match &served {
            None => Answer::NotFound,
            Some(_) if request.method() != Method::POST => Answer::MethodNotAllowed,
            Some(_) if !self.open.load(Ordering::Relaxed) => Answer::Unavailable,
            Some(served) => {
                let (head, body) = request.into_parts();
                let mut trace = Trace::begin(&self.traces, &head.headers, &served.endpoint.name);
                let answer = match self.read(&served.endpoint, body).await {
                    Ok(received) => {
                        unread = false;
                        self.accept(served, &head.headers, received, &trace).await
                    }
                    Err(answer) => answer,
                };
                trace.answered(answer);
                answer
            }
        };
        served.as_ref().map_or(&self.nowhere, |served| &served.meter).answered(answer);
        self.meter.duration(answer).record(started.elapsed());
        // A sender whose body was not read to its end cannot be heard any more.
        let close = http1 && (unread || self.closing.load(Ordering::Relaxed));
        answer.response(close)
    }

    /// Reads the whole body; otherwise tells what to answer.
    async fn read<B>(&self, endpoint: &Endpoint, body: B) -> Result<Received, Answer>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let started = Instant::now();
        let read = body::read(body, self.body_max, &self.bytes, self.body_timeout).await;
        self.meter.body_seconds.record(started.elapsed());
        read.map_err(|error| {
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
    async fn accept(
        &self,
        served: &Served,
        headers: &HeaderMap,
        received: Received,
        trace: &Trace<'_>,
    ) -> Answer {
        let endpoint = &served.endpoint;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Err(refusal) = self.verify(served, headers, &received.bytes, now.as_secs()) {
            tracing::info!(endpoint = &*endpoint.name, reason = refusal.code(), "refused");
            return Answer::Refused(refusal);
        }
        let Ok(_place) = self.requests.try_acquire() else {
            tracing::warn!(endpoint = &*endpoint.name, "refused: INGEST_MAX_IN_FLIGHT is reached");
            return Answer::Overloaded;
        };
        let sent = Instant::now();
        let mut publishing = trace.publish(&self.topic);
        let acknowledgement = self.publish(served, headers, &received.bytes, now, &mut publishing);
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
        self.meter.publish_seconds.record(sent.elapsed());
        publishing.ended(verdict.as_ref().err());
        match verdict {
            Ok(()) => Answer::Accepted,
            Err(error) => {
                metrics::PUBLISH_ERRORS.with([error.code()]).increment(1);
                tracing::error!(endpoint = &*endpoint.name, %error, "not acknowledged");
                if error == PublishError::TooLarge { Answer::TooLarge } else { Answer::Unavailable }
            }
        }
    }

    fn verify(
        &self,
        served: &Served,
        headers: &HeaderMap,
        body: &[u8],
        now_s: u64,
    ) -> Result<(), Refusal> {
        let header = signature_header(headers)?;
        let (started, keys) = (Instant::now(), &served.endpoint.keys);
        let verified = signature::verify(header, body, keys, now_s, self.tolerance_s);
        self.meter.verify_seconds.record(started.elapsed());
        served.meter.matched(verified?, now_s);
        if let Some(Ok(signature)) = header.map(signature::parse) {
            let age = now_s.saturating_sub(signature.timestamp);
            self.meter.signature_age.record(Duration::from_secs(age));
        }
        Ok(())
    }

    fn publish(
        &self,
        served: &Served,
        headers: &HeaderMap,
        body: &[u8],
        now: Duration,
        publishing: &mut Publishing,
    ) -> Result<crate::publish::Acknowledgement, PublishError> {
        let seen = peek(body);
        if !seen.json {
            served.meter.not_json.increment(1);
        }
        self.meter.body_bytes.record(u32::try_from(body.len()).unwrap_or(u32::MAX));
        let created = seen.created.map(|created| created.to_string());
        let received_at = now.as_millis().to_string();
        publishing.tell(&seen);
        let traceparent = publishing.traceparent().map(|it| it.to_string());
        let ours = Ours { created: &created, received_at: &received_at, traceparent: &traceparent };
        let headers = record_headers(&served.endpoint, headers, &seen, ours);
        self.publisher.publish(&Record { key: &seen.key, body, headers })
    }

    /// Sets the gauges of what is in flight.
    pub(crate) fn show_in_flight(&self) {
        let used = |max: usize, left: usize| u32::try_from(max.saturating_sub(left));
        let requests = used(self.requests_max, self.requests.available_permits());
        self.meter.in_flight.set(requests.unwrap_or(u32::MAX));
        let bytes = used(self.bytes_max, self.bytes.available_permits());
        self.meter.in_flight_bytes.set(bytes.unwrap_or(u32::MAX));
    }
}

/// Shows the indices of an endpoint's secrets as active or not.
fn show_secrets(endpoint: &Endpoint, active: u8) {
    for secret in 0..endpoint.keys.len() {
        metrics::SECRET_ACTIVE.with([&endpoint.name, &secret.to_string()]).set(active);
    }
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

/// Texts made for a record's headers.
#[derive(Clone, Copy)]
struct Ours<'a> {
    created: &'a Option<String>,
    received_at: &'a str,
    traceparent: &'a Option<String>,
}

/// What is known of the record, as the raw topic's headers.
fn record_headers<'a>(
    endpoint: &'a Endpoint,
    headers: &'a HeaderMap,
    seen: &'a Peek<'_>,
    ours: Ours<'a>,
) -> Vec<(&'static str, &'a [u8])> {
    let livemode = seen.livemode.map(|live| if live { "true" } else { "false" });
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
    [
        (header::EVENT_ID, seen.id.as_deref()),
        (header::EVENT_TYPE, seen.event_type.as_deref()),
        (header::ENDPOINT, Some(&*endpoint.name)),
        (header::ACCOUNT, seen.account.as_deref().or(endpoint.account.as_deref())),
        (header::API_VERSION, seen.api_version.as_deref()),
        (header::LIVEMODE, livemode),
        (header::CREATED, ours.created.as_deref()),
        (header::RECEIVED_AT, Some(ours.received_at)),
        (header::STRIPE_SIGNATURE, signature),
        (header::TRACEPARENT, ours.traceparent.as_deref()),
        (header::SOURCE, Some("webhook")),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?.as_bytes())))
    .collect()
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
