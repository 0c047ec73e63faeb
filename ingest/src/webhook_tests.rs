//! Tests of [`super`] with a publisher that fails as told, and requests made by hand.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

use clap::Parser as _;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::Frame;
use tokio::sync::oneshot;

use super::*;
use crate::publish::Acknowledgement;

const SECRET: &str = "whsec_test";
const BODY: &str = r#"{"id":"evt_1","object":"event","type":"charge.succeeded","created":7,
    "livemode":false,"data":{"object":{"id":"ch_1","payment_intent":"pi_1"}}}"#;

type Headers = BTreeMap<&'static str, String>;
type Verdict = Result<(), PublishError>;

/// Remembers what it was given; acknowledges, refuses or keeps silent, as told.
#[derive(Default)]
struct Fake {
    refuses: Option<PublishError>,
    verdict: Option<Verdict>,
    taken: Mutex<Vec<(String, Vec<u8>, Headers)>>,
    silent: Mutex<Vec<oneshot::Sender<Verdict>>>,
}

impl Publish for Fake {
    fn publish(&self, record: &Record<'_>) -> Result<Acknowledgement, PublishError> {
        if let Some(error) = &self.refuses {
            return Err(error.clone());
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers = record.headers.iter().map(|&(name, value)| (name, text(value))).collect();
        self.taken.lock().unwrap().push((record.key.to_owned(), record.body.to_vec(), headers));
        let (sender, receiver) = oneshot::channel();
        match &self.verdict {
            Some(verdict) => sender.send(verdict.clone()).unwrap(),
            None => self.silent.lock().unwrap().push(sender),
        }
        Ok(receiver)
    }
}

fn acknowledging() -> Fake {
    Fake { verdict: Some(Ok(())), ..Fake::default() }
}

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

fn webhooks(fake: Fake, more: &[&str]) -> Arc<Webhooks<Fake>> {
    let args = ["test", "--kafka-brokers", "none:1"];
    let settings = Cli::try_parse_from(args.iter().chain(more)).unwrap().settings;
    let secrets = format!("{SECRET},whsec_next,eu:whsec_eu");
    let endpoints = Endpoints::parse(&secrets, "eu:acct_eu").unwrap();
    let webhooks =
        Arc::new(Webhooks::new(&settings, &endpoints, Arc::new(fake), Traces::default()));
    webhooks.open();
    webhooks
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn request(path: &str, secret: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post(path)
        .header("stripe-signature", signature::sign(secret, now_s(), body.as_bytes()))
        .body(Full::from(body.to_owned()))
        .unwrap()
}

async fn answer<B>(webhooks: &Webhooks<Fake>, request: Request<B>) -> (StatusCode, String)
where
    B: Body<Data = Bytes> + Unpin,
{
    let response = webhooks.respond(request).await;
    let status = response.status();
    assert_eq!(
        response.headers().contains_key("retry-after"),
        status == StatusCode::SERVICE_UNAVAILABLE
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn an_acknowledged_event_is_answered_200_with_nothing() {
    let webhooks = webhooks(acknowledging(), &[]);
    let mut asked = request(PATH, SECRET, BODY);
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    asked.headers_mut().insert("traceparent", traceparent.parse().unwrap());
    let signature = asked.headers()["stripe-signature"].to_str().unwrap().to_owned();
    assert_eq!(answer(&webhooks, asked).await, (StatusCode::OK, String::new()));

    let taken = webhooks.publisher.taken.lock().unwrap();
    let (key, body, headers) = &taken[0];
    assert_eq!((key.as_str(), body.as_slice()), ("pi_1", BODY.as_bytes()));
    let received: u64 = headers[header::RECEIVED_AT].parse().unwrap();
    assert!(received.abs_diff(now_s() * 1000) < 60_000);
    let mut rest = headers.clone();
    rest.remove(header::RECEIVED_AT);
    let expected = [
        (header::EVENT_ID, "evt_1"),
        (header::EVENT_TYPE, "charge.succeeded"),
        (header::ENDPOINT, "default"),
        (header::LIVEMODE, "false"),
        (header::CREATED, "7"),
        (header::STRIPE_SIGNATURE, &signature),
        (header::TRACEPARENT, traceparent),
        (header::SOURCE, "webhook"),
    ];
    assert_eq!(rest, expected.map(|(name, value)| (name, value.to_owned())).into());
}

#[tokio::test]
async fn endpoints_have_their_own_secrets_and_accounts() {
    let webhooks = webhooks(acknowledging(), &[]);
    for (path, secret, status) in [
        ("/webhooks/stripe/", SECRET, 200),
        ("/webhooks/stripe/default", "whsec_next", 200),
        ("/webhooks/stripe/eu", "whsec_eu", 200),
        ("/webhooks/stripe/eu/", "whsec_eu", 200),
        ("/webhooks/stripe/eu", SECRET, 400),
        ("/webhooks/stripe", "whsec_eu", 400),
        ("/webhooks/stripe/us", SECRET, 404),
        ("/webhooks/stripe//", SECRET, 404),
        ("/webhooks/stripes", SECRET, 404),
        ("/", SECRET, 404),
    ] {
        let got = answer(&webhooks, request(path, secret, BODY)).await;
        assert_eq!(got.0.as_u16(), status, "{path} {secret}: {got:?}");
    }
    let taken = webhooks.publisher.taken.lock().unwrap();
    let accounts: Vec<_> = taken.iter().map(|(_, _, h)| h.get(header::ACCOUNT).cloned()).collect();
    let eu = Some("acct_eu".to_owned());
    assert_eq!(accounts, [None, None, eu.clone(), eu]);
}

#[tokio::test]
async fn refusals_carry_their_reason_and_publish_nothing() {
    let webhooks = webhooks(acknowledging(), &[]);
    let with = |value: &str| {
        Request::post(PATH).header("stripe-signature", value).body(Full::from(BODY)).unwrap()
    };
    let old = signature::sign(SECRET, now_s() - 400, BODY.as_bytes());
    let bare = Request::post(PATH).body(Full::from(BODY)).unwrap();
    let mut twice = request(PATH, SECRET, BODY);
    twice.headers_mut().append("stripe-signature", "t=1,v1=00".parse().unwrap());
    for (asked, reason) in [
        (bare, "missing_header"),
        (with("nonsense"), "malformed_header"),
        (with("t=1,v0=00"), "no_v1_signature"),
        (with("t=1,v1=00"), "no_matching_signature"),
        (with(&old), "timestamp_outside_tolerance"),
        (request(PATH, SECRET, ""), "no_payload"),
        (twice, "malformed_header"),
    ] {
        let got = answer(&webhooks, asked).await;
        assert_eq!(got, (StatusCode::BAD_REQUEST, reason.to_owned()));
    }
    assert!(webhooks.publisher.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn whatever_stripe_signed_is_kept() {
    let webhooks = webhooks(acknowledging(), &[]);
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(500), "]".repeat(500));
    for body in ["not JSON", "[]", r#"{"object":"v2.core.event"}"#, &deep] {
        let got = answer(&webhooks, request(PATH, SECRET, body)).await;
        assert_eq!(got.0, StatusCode::OK, "{body}");
    }
    assert_eq!(webhooks.publisher.taken.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn only_post_is_allowed() {
    let webhooks = webhooks(acknowledging(), &[]);
    let asked = Request::get(PATH).body(Full::<Bytes>::default()).unwrap();
    let response = webhooks.respond(asked).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "POST");
}

#[tokio::test]
async fn too_large_is_413_whether_declared_streamed_or_found_by_kafka() {
    let small = webhooks(acknowledging(), &["--ingest-max-body-bytes", "100"]);
    let declared = request(PATH, SECRET, &"x".repeat(101));
    assert_eq!(answer(&small, declared).await.0, StatusCode::PAYLOAD_TOO_LARGE);

    // A body of unknown length that never ends: only what is over the limit is asked for.
    let asked = Mutex::new(0);
    let endless = endless_frames(move || {
        *asked.lock().unwrap() += 1;
        assert!(*asked.lock().unwrap() <= 3, "read on after the limit");
        Bytes::from_static(&[b'x'; 40])
    });
    let streamed = Request::post(PATH).body(endless).unwrap();
    assert_eq!(answer(&small, streamed).await.0, StatusCode::PAYLOAD_TOO_LARGE);

    let fits = request(PATH, SECRET, &"x".repeat(100));
    assert_eq!(answer(&small, fits).await.0, StatusCode::OK);

    let fake = Fake { verdict: Some(Err(PublishError::TooLarge)), ..Fake::default() };
    let got = answer(&webhooks(fake, &[]), request(PATH, SECRET, BODY)).await;
    assert_eq!(got.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_body_in_frames_arrives_whole() {
    let webhooks = webhooks(acknowledging(), &[]);
    let mut frames = BODY.as_bytes().chunks(7).map(Bytes::from_static).collect::<Vec<_>>();
    frames.reverse();
    let (parts, _) = request(PATH, SECRET, BODY).into_parts();
    let body = Frames(Box::new(move || frames.pop()));
    let got = answer(&webhooks, Request::from_parts(parts, body)).await;
    assert_eq!(got.0, StatusCode::OK);
    assert_eq!(webhooks.publisher.taken.lock().unwrap()[0].1, BODY.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_408() {
    let webhooks = webhooks(acknowledging(), &[]);
    let (parts, _) = request(PATH, SECRET, BODY).into_parts();
    let got = answer(&webhooks, Request::from_parts(parts, Never)).await;
    assert_eq!(got, (StatusCode::REQUEST_TIMEOUT, "body_timed_out".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_kafka_does_not_acknowledge_is_503() {
    let unavailable = (StatusCode::SERVICE_UNAVAILABLE, "unavailable".to_owned());
    for fake in [
        Fake::default(),
        Fake { refuses: Some(PublishError::QueueFull), ..Fake::default() },
        Fake { verdict: Some(Err(PublishError::TimedOut)), ..Fake::default() },
        Fake { verdict: Some(Err(PublishError::Fatal)), ..Fake::default() },
        Fake { verdict: Some(Err(PublishError::Rejected("no".to_owned()))), ..Fake::default() },
    ] {
        let webhooks = webhooks(fake, &["--kafka-delivery-timeout", "8s"]);
        let started = tokio::time::Instant::now();
        assert_eq!(answer(&webhooks, request(PATH, SECRET, BODY)).await, unavailable);
        assert!(started.elapsed() <= Duration::from_millis(8100), "{:?}", started.elapsed());
        assert_eq!(webhooks.requests.available_permits(), 1024, "a slot was lost");
        assert_eq!(webhooks.bytes.available_permits(), 64 << 20, "bytes were lost");
    }
}

#[tokio::test]
async fn before_the_topic_is_known_to_be_sound_everything_is_503() {
    let webhooks = webhooks(acknowledging(), &[]);
    webhooks.open.store(false, Ordering::Relaxed);
    let got = answer(&webhooks, request(PATH, SECRET, BODY)).await;
    assert_eq!(got.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn more_than_may_be_in_flight_is_503() {
    let overloaded = (StatusCode::SERVICE_UNAVAILABLE, "overloaded".to_owned());
    for limits in [
        ["--ingest-max-in-flight", "1", "--ingest-max-body-bytes", "1000"],
        ["--ingest-max-in-flight-bytes", "200", "--ingest-max-body-bytes", "200"],
    ] {
        let webhooks = webhooks(Fake::default(), &limits);
        let waiting = Arc::clone(&webhooks);
        let first =
            tokio::spawn(async move { answer(&waiting, request(PATH, SECRET, BODY)).await });
        let silent = loop {
            if let Some(sender) = webhooks.publisher.silent.lock().unwrap().pop() {
                break sender;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(answer(&webhooks, request(PATH, SECRET, BODY)).await, overloaded);
        silent.send(Ok(())).unwrap();
        assert_eq!(first.await.unwrap().0, StatusCode::OK);
    }
}

#[tokio::test]
async fn bodies_that_do_not_come_keep_no_genuine_event_out() {
    let webhooks = webhooks(acknowledging(), &["--ingest-max-in-flight", "1"]);
    let slow: Vec<_> = std::iter::repeat_with(|| {
        let webhooks = Arc::clone(&webhooks);
        let (parts, _) = request(PATH, SECRET, BODY).into_parts();
        tokio::spawn(async move { answer(&webhooks, Request::from_parts(parts, Never)).await })
    })
    .take(8)
    .collect();
    tokio::task::yield_now().await;
    for (secret, status) in [("whsec_wrong", StatusCode::BAD_REQUEST), (SECRET, StatusCode::OK)] {
        assert_eq!(answer(&webhooks, request(PATH, secret, BODY)).await.0, status);
    }
    assert!(slow.iter().all(|request| !request.is_finished()), "they wait for their bodies");
}

#[tokio::test]
async fn a_draining_listener_asks_http1_senders_to_leave() {
    let webhooks = webhooks(acknowledging(), &[]);
    webhooks.close();
    let response = webhooks.respond(request(PATH, SECRET, BODY)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["connection"], "close");
}

#[tokio::test]
async fn an_answer_to_an_unread_body_says_that_the_connection_closes() {
    let open = webhooks(acknowledging(), &["--ingest-max-body-bytes", "1000"]);
    let starting = webhooks(acknowledging(), &[]);
    starting.open.store(false, Ordering::Relaxed);
    let full = webhooks(acknowledging(), &["--ingest-max-in-flight", "1"]);
    let _place = full.requests.try_acquire().unwrap();
    let put = || Request::put(PATH).body(Full::from(BODY)).unwrap();
    let get = || Request::get(PATH).body(Full::default()).unwrap();
    let post = |path| request(path, SECRET, BODY);
    let large = || request(PATH, SECRET, &"x".repeat(1001));
    for (webhooks, request, status, closes) in [
        (&open, post("/"), 404, true),
        (&open, put(), 405, true),
        (&open, get(), 405, false),
        (&starting, post(PATH), 503, true),
        (&open, large(), 413, true),
        // These bodies were read: the next request may come on the same connection.
        (&full, post(PATH), 503, false),
        (&open, request(PATH, "whsec_wrong", BODY), 400, false),
        (&open, post(PATH), 200, false),
    ] {
        let what = format!("{} {}", request.method(), request.uri());
        let response = webhooks.respond(request).await;
        assert_eq!(response.status().as_u16(), status, "{what}");
        let close = response.headers().get("connection").is_some_and(|value| value == "close");
        assert_eq!(close, closes, "{what} {status}");
    }
}

#[tokio::test]
async fn new_secrets_count_from_the_next_request_on() {
    let webhooks = webhooks(acknowledging(), &[]);
    webhooks.replace_endpoints(&Endpoints::parse("whsec_new", "").unwrap());
    assert_eq!(answer(&webhooks, request(PATH, SECRET, BODY)).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(answer(&webhooks, request(PATH, "whsec_new", BODY)).await.0, StatusCode::OK);
    let gone = request("/webhooks/stripe/eu", "whsec_eu", BODY);
    assert_eq!(answer(&webhooks, gone).await.0, StatusCode::NOT_FOUND);
}

/// A body that comes in frames, as long as there are some.
struct Frames(Box<dyn FnMut() -> Option<Bytes> + Send>);

fn endless_frames(mut next: impl FnMut() -> Bytes + Send + 'static) -> Frames {
    Frames(Box::new(move || Some(next())))
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready((self.0)().map(|data| Ok(Frame::data(data))))
    }
}

/// A body that never comes.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
#[ignore = "a measurement: cargo test -p ingest counting -- --ignored --nocapture"]
async fn counting_is_a_small_part_of_a_request() {
    // Handles that were made before a recorder is installed count nothing.
    let silent = webhooks(acknowledging(), &[]);
    let exporter = service::metrics::Exporter::install(&[metrics::all()]).unwrap();
    let counted = webhooks(acknowledging(), &[]);
    let (rounds, requests) = (20, 250);
    let mut took = [Duration::ZERO; 2];
    for _ in 0..rounds {
        for (webhooks, took) in [&silent, &counted].into_iter().zip(&mut took) {
            let asked: Vec<_> = (0..requests).map(|_| request(PATH, SECRET, BODY)).collect();
            let started = Instant::now();
            for request in asked {
                assert_eq!(webhooks.respond(request).await.status(), StatusCode::OK);
            }
            *took += started.elapsed();
        }
        drop(exporter.render());
    }
    let [without, with] = took.map(|took| took.as_secs_f64() * 1e6 / f64::from(rounds * requests));
    println!("a request takes {without:.1} µs uncounted, {with:.1} µs counted");
    let accepted = r#"ingest_requests_total{endpoint="default",outcome="accepted"} 5000"#;
    assert!(exporter.render().contains(accepted));
    assert!(with < 1.25 * without, "{with:.1} µs against {without:.1} µs");
}
