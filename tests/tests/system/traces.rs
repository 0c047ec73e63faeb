//! One trace from Stripe's request to the committed row, as a collector gets it over OTLP/HTTP.

use crate::system;
use domain::signature::sign;
use domain::trace::Traceparent;
use harness::stack::eventually;
use harness::system::{Ingest, SECRET, System};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

const DEADLINE: Duration = Duration::from_mins(1);
const CAME: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
/// What is in the bodies and may be in no span.
const PERSONAL: &str = "ada@example.com";
/// So that spans come at once.
const AT_ONCE: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "100");

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector {
    /// Path, media type and body of each request.
    requests: Arc<Mutex<Vec<(String, String, Bytes)>>>,
}

impl Collector {
    async fn start() -> (Self, String) {
        let this = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let collector = this.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let collector = collector.clone();
                let service = service_fn(move |request| collector.clone().take(request));
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        (this, format!("http://{address}"))
    }

    async fn take(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let media_type = request.headers()["content-type"].to_str().unwrap().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        self.requests.lock().unwrap().push((path, media_type, body));
        Ok(Response::new(Full::default()))
    }

    /// Every span so far, with the name of the program that sent it.
    fn spans(&self) -> Vec<(String, Span)> {
        let requests = self.requests.lock().unwrap();
        let decoded = requests.iter().flat_map(|(path, media_type, body)| {
            assert_eq!(
                (path.as_str(), media_type.as_str()),
                ("/v1/traces", "application/x-protobuf")
            );
            ExportTraceServiceRequest::decode(body.clone()).unwrap().resource_spans
        });
        decoded
            .flat_map(|of| {
                let resource = of.resource.unwrap();
                let name = resource.attributes.iter().find(|it| it.key == "service.name").unwrap();
                let program = text(name.value.clone().unwrap().value.unwrap());
                let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.map(move |span| (program.clone(), span)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Waits until a span of this name that belongs to this trace is there.
    async fn span(&self, program: &str, name: &str, trace_id: u128) -> Span {
        let find = || {
            let mut spans = self.spans().into_iter();
            spans.find(|(of, span)| {
                of == program && span.name == name && span.trace_id == trace_id.to_be_bytes()
            })
        };
        let look = async || Ok(find().is_none().then(|| format!("no span {name} of {program}")));
        eventually(DEADLINE, look).await.unwrap();
        find().unwrap().1
    }
}

fn text(value: Value) -> String {
    match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    text(found.unwrap_or_else(|| panic!("no {key}")).value.clone().unwrap().value.unwrap())
}

async fn post(ingest: &Ingest, id: &str, secret: &str, traceparent: Option<&str>) -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let body = format!(
        r#"{{"id":"{id}","object":"event","type":"charge.succeeded","created":{now},
            "livemode":false,"data":{{"object":{{"id":"ch_{id}","object":"charge","amount":100,
            "currency":"usd","status":"succeeded","created":{now},"receipt_email":"{PERSONAL}"}}}}}}"#
    );
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client
        .post(format!("http://{}/webhooks/stripe", ingest.listen))
        .header("stripe-signature", sign(secret, now, body.as_bytes()));
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    request.body(body).send().await.unwrap().status().as_u16()
}

/// What is kept with the event, read as `inspect` shows it.
fn shown(system: &System, event: &str) -> Option<Traceparent> {
    let told = system.command("reconciler", &["inspect", "--json", event]).unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let row = told["events"].as_array().unwrap().iter().find(|row| row["event"] == event).unwrap();
    row["traceparent"].as_str().map(|text| Traceparent::parse(text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_from_the_request_to_the_row_and_holds_nothing_of_the_body() {
    let system = system("traces").await;
    let (collector, url) = Collector::start().await;
    let to = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    let all = ("OTEL_TRACES_SAMPLER_ARG", "1");
    let ingest = system.ingest("ingest", &[to, all, AT_ONCE]).await.unwrap();
    let run = system.reconciler("run", "project", &[to, AT_ONCE]).await.unwrap();
    assert_eq!(post(&ingest, "evt_1", SECRET, Some(CAME)).await, 200);
    assert_eq!(post(&ingest, "evt_2", SECRET, Some("00-not-a-trace-01")).await, 200);
    assert_eq!(post(&ingest, "evt_3", "whsec_forged", Some(CAME)).await, 400);
    system.caught_up(&["project"], DEADLINE).await.unwrap();

    let came = Traceparent::parse(CAME).unwrap();
    let kept = shown(&system, "evt_1").unwrap();
    assert_eq!((kept.trace_id, kept.sampled), (came.trace_id, true));
    let name = format!("send {}", system.topic.name);
    let sent = collector.span("ingest", &name, came.trace_id).await;
    assert_eq!(sent.span_id, kept.span_id.to_be_bytes());
    let request = collector.span("ingest", "POST /webhooks/stripe", came.trace_id).await;
    assert_eq!(request.parent_span_id, came.span_id.to_be_bytes());
    assert_eq!(sent.parent_span_id, request.span_id);
    let applied = collector.span("reconciler", "apply", came.trace_id).await;
    assert_eq!(applied.parent_span_id, sent.span_id);
    assert!(applied.start_time_unix_nano < applied.end_time_unix_nano);
    assert_eq!(attribute(&request, "ingest.outcome"), "accepted");
    assert_eq!(attribute(&request, "http.response.status_code"), "200");
    for span in [&sent, &applied] {
        assert_eq!(attribute(span, "stripe.event.id"), "evt_1");
        assert_eq!(attribute(span, "stripe.event.type"), "charge.succeeded");
    }

    // What is no trace is replaced by one of our own.
    let own = shown(&system, "evt_2").unwrap();
    assert_ne!(own.trace_id, came.trace_id);
    let request = collector.span("ingest", "POST /webhooks/stripe", own.trace_id).await;
    assert_eq!(request.parent_span_id, Vec::<u8>::new());

    assert!(ingest.process.terminate(DEADLINE).await.unwrap().success());
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
    // Sent before the process ended, though nobody waited for it.
    let refused = collector
        .spans()
        .into_iter()
        .find(|(_, span)| span.attributes.iter().any(|attribute| attribute.key == "ingest.reason"));
    assert_eq!(attribute(&refused.unwrap().1, "ingest.reason"), "no_matching_signature");
    for (_, _, body) in collector.requests.lock().unwrap().iter() {
        for secret in [PERSONAL, "receipt_email", "whsec_", "v1="] {
            let found = body.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} is in a span");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_cannot_make_us_send_traces() {
    let system = system("traces_off").await;
    let (collector, url) = Collector::start().await;
    let to = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    let none = ("OTEL_TRACES_SAMPLER_ARG", "0");
    let ingest = system.ingest("ingest", &[to, none, AT_ONCE]).await.unwrap();
    let _run = system.reconciler("run", "project", &[]).await.unwrap();
    let sampled = CAME.replace("-00", "-01");
    assert_eq!(post(&ingest, "evt_1", SECRET, Some(&sampled)).await, 200);
    assert_eq!(post(&ingest, "evt_2", SECRET, None).await, 200);
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    // What came goes on as it came, and none is made up.
    assert_eq!(shown(&system, "evt_1"), Traceparent::parse(&sampled));
    assert_eq!(shown(&system, "evt_2"), None);
    assert!(ingest.process.terminate(DEADLINE).await.unwrap().success());
    assert_eq!(collector.spans(), []);
}
