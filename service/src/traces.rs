//! Traces: OpenTelemetry's spans, sent over OTLP/HTTP (protobuf) where an endpoint is set.
//!
//! Only spans that a program makes by its own hand are sent, with the attributes that it gives them.
//! What libraries tell `tracing` is for the log: it may hold what must not leave the process.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use clap::Args;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, Status, TraceContextExt as _, TraceFlags, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, SpanId, TraceId};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use crate::exit::ConfigError;
use crate::metrics::TRACE_EXPORTS;

pub use opentelemetry::Value;
pub use opentelemetry::trace::SpanKind;

/// Time for one call to the collector.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of the collector's answer.
const ANSWER_BYTES: usize = 64 * 1024;
/// Time to send what is left when the process ends.
const GOODBYE: Duration = Duration::from_secs(5);

/// Where spans go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces")]
#[group(id = "trace-options")]
pub struct Options {
    /// Where spans go: an OTLP/HTTP collector beside this process, such as `http://127.0.0.1:4318`;
    /// without it there are none
    #[arg(long, env)]
    pub otel_exporter_otlp_endpoint: Option<String>,
}

/// Which traces are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// This share of them, whatever a parent says: for requests from anywhere.
    Share(f64),
    /// Those whose parent is.
    Parent,
}

/// The place of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its trace.
    pub trace_id: u128,
    /// Itself.
    pub span_id: u64,
    /// Whether it is sent.
    pub sampled: bool,
}

/// Where spans are made; without an endpoint it makes none.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Inner>>);

struct Inner {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Traces(on)" } else { "Traces(off)" })
    }
}

impl Options {
    /// The URL of the collector, if there is one.
    pub fn url(&self) -> Result<Option<String>, ConfigError> {
        let endpoint = self.otel_exporter_otlp_endpoint.as_deref().unwrap_or_default().trim();
        if endpoint.is_empty() {
            return Ok(None);
        }
        let is_usable = endpoint.parse::<hyper::Uri>().is_ok_and(|uri| {
            uri.scheme_str() == Some("http") && uri.host().is_some() && uri.query().is_none()
        });
        if !is_usable {
            // Not quoted: it may hold a password.
            let problem = "is not http://HOST:PORT; spans go to a collector nearby, without TLS";
            return Err(ConfigError::new("OTEL_EXPORTER_OTLP_ENDPOINT", problem));
        }
        Ok(Some(format!("{}/v1/traces", endpoint.trim_end_matches('/'))))
    }
}

impl Traces {
    /// Begins to send spans of this program, if an endpoint is set. Needs a tokio runtime.
    pub fn start(
        options: &Options,
        program: &'static str,
        sampling: Sampling,
    ) -> Result<Self, ConfigError> {
        let Some(url) = options.url()? else { return Ok(Self::default()) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new())
            .with_endpoint(url)
            .with_timeout(CALL_TIMEOUT)
            .build()
            .map_err(|error| ConfigError::new("OTEL_EXPORTER_OTLP_ENDPOINT", error.to_string()))?;
        let sampler = match sampling {
            Sampling::Share(share) => Sampler::TraceIdRatioBased(share),
            Sampling::Parent => Sampler::ParentBased(Box::new(Sampler::AlwaysOff)),
        };
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name(program).with_attribute(version);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler)
            .with_resource(resource.build())
            .build();
        let scope = InstrumentationScope::builder(program).build();
        let tracer = provider.tracer_with_scope(scope);
        Ok(Self(Some(Arc::new(Inner { provider, tracer }))))
    }

    /// Whether spans are made at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A span that began then and ends when it is dropped; none where it would not be sent.
    pub fn span(
        &self,
        name: impl Into<std::borrow::Cow<'static, str>>,
        kind: SpanKind,
        parent: Option<Place>,
        began: SystemTime,
    ) -> Option<Span> {
        let inner = self.0.as_ref()?;
        let parent = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent.context()),
            None => Context::new(),
        };
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_start_time(began);
        let span = inner.tracer.build_with_context(builder, &parent);
        span.is_recording().then_some(Span(span))
    }

    /// Sends what is left.
    pub async fn stop(self) {
        let Some(inner) = self.0 else { return };
        // It waits for a thread of its own, which waits for tasks of this runtime.
        let stopped =
            tokio::task::spawn_blocking(move || inner.provider.shutdown_with_timeout(GOODBYE));
        if let Ok(Err(error)) = stopped.await {
            tracing::warn!(%error, "spans were left unsent");
        }
    }
}

/// A span that is sent once it is dropped. Its attributes never hold a body, a secret or personal
/// data.
#[derive(Debug)]
pub struct Span(opentelemetry_sdk::trace::Span);

impl Span {
    /// Its place, for what follows from it.
    pub fn place(&self) -> Place {
        let context = self.0.span_context();
        Place {
            trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(context.span_id().to_bytes()),
            sampled: context.is_sampled(),
        }
    }

    /// Gives it an attribute.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    /// What it stands for failed, with this code.
    pub fn fail(&mut self, code: &'static str) {
        self.0.set_status(Status::error(code));
    }
}

impl Place {
    fn context(self) -> SpanContext {
        let flags = if self.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        SpanContext::new(
            TraceId::from_bytes(self.trace_id.to_be_bytes()),
            SpanId::from_bytes(self.span_id.to_be_bytes()),
            flags,
            true,
            TraceState::NONE,
        )
    }
}

/// The collector. The exporter's thread has no runtime, so calls are made on this one.
struct Collector {
    runtime: Handle,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Whether the last call failed, so that an outage is two lines.
    down: AtomicBool,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

impl Collector {
    fn new() -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { runtime: Handle::current(), client, down: AtomicBool::new(false) }
    }

    fn note(&self, result: Result<(), &dyn fmt::Display>) {
        match result {
            Ok(()) => {
                TRACE_EXPORTS.with(["ok"]).increment(1);
                if self.down.swap(false, Ordering::Relaxed) {
                    tracing::info!("the collector takes spans again");
                }
            }
            Err(error) => {
                TRACE_EXPORTS.with(["failed"]).increment(1);
                if !self.down.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the collector takes no spans; they are dropped");
                }
            }
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sending = self.client.request(request.map(Full::new));
        // Even the timer is made over there: it needs the runtime.
        let call = self.runtime.spawn(async move {
            tokio::time::timeout(CALL_TIMEOUT, async {
                let (head, body) = sending.await?.into_parts();
                let body = Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes();
                Ok::<_, HttpError>(Response::from_parts(head, body))
            })
            .await
        });
        let answered = match call.await {
            Ok(Ok(answered)) => answered,
            Ok(Err(elapsed)) => Err(elapsed.into()),
            Err(ended) => Err(ended.into()),
        };
        match &answered {
            Ok(response) if response.status().is_success() => self.note(Ok(())),
            Ok(response) => self.note(Err(&response.status())),
            Err(error) => self.note(Err(error)),
        }
        answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(endpoint: &str) -> Result<Option<String>, ConfigError> {
        Options { otel_exporter_otlp_endpoint: Some(endpoint.to_owned()) }.url()
    }

    #[test]
    fn the_endpoint_is_a_base_and_has_no_tls() {
        let path = "/v1/traces";
        assert_eq!(url("http://collector:4318"), Ok(Some(format!("http://collector:4318{path}"))));
        assert_eq!(url("http://[::1]:4318/x/"), Ok(Some(format!("http://[::1]:4318/x{path}"))));
        assert_eq!(url(" "), Ok(None));
        for wrong in ["https://hush:4318", "hush:4318", "/hush", "http://", "ftp://hush"] {
            let line = url(wrong).unwrap_err().to_string();
            assert!(line.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: is not http://"), "{line}");
            assert!(!line.contains("hush"), "{line}");
        }
    }

    #[test]
    fn without_an_endpoint_there_are_no_spans() {
        let off = Traces::start(
            &Options { otel_exporter_otlp_endpoint: None },
            "test",
            Sampling::Share(1.0),
        )
        .unwrap();
        assert!(!off.is_on());
        assert!(off.span("x", SpanKind::Server, None, SystemTime::now()).is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_parent_from_anywhere_does_not_decide_what_is_sent_unless_it_may() {
        let options =
            Options { otel_exporter_otlp_endpoint: Some("http://127.0.0.1:1".to_owned()) };
        let place = |sampled| Some(Place { trace_id: 7, span_id: 8, sampled });
        let made = |sampling, parent| {
            let traces = Traces::start(&options, "test", sampling).unwrap();
            traces.span("x", SpanKind::Server, parent, SystemTime::now()).map(|it| it.place())
        };
        assert_eq!(made(Sampling::Share(0.0), place(true)), None);
        let kept = made(Sampling::Share(1.0), place(false)).unwrap();
        assert_eq!((kept.trace_id, kept.sampled), (7, true));
        assert_ne!(kept.span_id, 8);
        assert_eq!(made(Sampling::Parent, None), None);
        assert_eq!(made(Sampling::Parent, place(false)), None);
        assert_eq!(made(Sampling::Parent, place(true)).unwrap().trace_id, 7);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_left_is_sent_before_the_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (heard, mut requests) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| {
                let heard = heard.clone();
                async move {
                    let path = request.uri().path().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    heard.send((path, body)).unwrap();
                    Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
                }
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
        });
        let options = Options { otel_exporter_otlp_endpoint: Some(endpoint) };
        let traces = Traces::start(&options, "test", Sampling::Share(1.0)).unwrap();
        drop(traces.span("work", SpanKind::Server, None, SystemTime::now()));
        traces.stop().await;
        let (path, body) = requests.recv().await.unwrap();
        assert_eq!(path, "/v1/traces");
        assert!(body.windows(4).any(|part| part == b"work"));
    }
}
