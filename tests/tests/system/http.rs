//! Each row of the table of answers.

use crate::system;
use domain::record::header;
use domain::signature::sign;
use harness::system::SECRET;
use reqwest::{Client, Method, Response, StatusCode};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const EU_SECRET: &str = "whsec_eu";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

struct Ingress {
    client: Client,
    address: SocketAddr,
}

impl Ingress {
    fn new(address: SocketAddr) -> Self {
        let redirects = reqwest::redirect::Policy::none();
        Self { client: Client::builder().no_proxy().redirect(redirects).build().unwrap(), address }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        signature: Option<String>,
        body: impl Into<Vec<u8>>,
    ) -> Response {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(method, url).body(body.into());
        if let Some(signature) = signature {
            request = request.header("stripe-signature", signature);
        }
        request.send().await.unwrap()
    }

    async fn post(&self, path: &str, secret: &str, body: &[u8]) -> Response {
        self.request(Method::POST, path, Some(sign(secret, now(), body)), body).await
    }
}

#[tokio::test]
async fn what_is_verified_is_in_the_topic_byte_for_byte_before_the_answer() {
    let system = system("http_accepted").await;
    let secrets = format!("{SECRET},eu:{EU_SECRET}");
    let accounts = "eu:acct_eu";
    let more = [("STRIPE_WEBHOOK_SECRETS", secrets.as_str()), ("STRIPE_ACCOUNTS", accounts)];
    let ingest = system.ingest("ingest", &more).await.unwrap();
    let ingress = Ingress::new(ingest.listen);

    let event = br#"{ "id":"evt_1","type":"ping", "created":1700000000,"livemode":false }"#;
    let sent: [(&str, &str, &[u8]); 5] = [
        ("/webhooks/stripe", SECRET, event),
        ("/webhooks/stripe/", SECRET, br#"{"id":"evt_2","type":"never.seen.before"}"#),
        ("/webhooks/stripe/eu", EU_SECRET, br#"{"id":"evt_3"}"#),
        ("/webhooks/stripe/eu/", EU_SECRET, b"signed, but no JSON"),
        ("/webhooks/stripe", SECRET, b"\xff\x00\xfe"),
    ];
    for (path, secret, body) in sent {
        let answer = ingress.post(path, secret, body).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert!(answer.bytes().await.unwrap().is_empty(), "{path}");
        let records = system.topic.records().await.unwrap();
        assert!(records.iter().any(|record| record.value.as_deref() == Some(body)), "{path}");
    }

    let records = system.topic.records().await.unwrap();
    assert_eq!(records.len(), sent.len());
    let of = |body: &[u8]| records.iter().find(|record| record.value.as_deref() == Some(body));
    let first = of(event).unwrap();
    assert_eq!(first.header(header::EVENT_ID), Some("evt_1"));
    assert_eq!(first.header(header::EVENT_TYPE), Some("ping"));
    assert_eq!(first.header(header::CREATED), Some("1700000000"));
    assert_eq!(first.header(header::LIVEMODE), Some("false"));
    assert_eq!(first.header(header::SOURCE), Some("webhook"));
    assert_eq!(first.header(header::ENDPOINT), Some("default"));
    assert_eq!(first.header(header::ACCOUNT), None);
    assert!(first.header(header::STRIPE_SIGNATURE).unwrap().starts_with("t="));
    assert!(
        first.header(header::RECEIVED_AT).unwrap().parse::<u64>().unwrap() / 1000 >= now() - 60
    );
    let third = of(br#"{"id":"evt_3"}"#).unwrap();
    assert_eq!(third.header(header::ENDPOINT), Some("eu"));
    assert_eq!(third.header(header::ACCOUNT), Some("acct_eu"));
}

#[tokio::test]
async fn what_is_refused_gets_its_own_answer_and_no_record() {
    let system = system("http_refused").await;
    let more = [("INGEST_MAX_BODY_BYTES", "1KiB")];
    let ingest = system.ingest("ingest", &more).await.unwrap();
    let ingress = Ingress::new(ingest.listen);
    let path = "/webhooks/stripe";
    let body = br#"{"id":"evt_1"}"#;
    let good = || Some(sign(SECRET, now(), body));

    let refused = [
        (None, "missing_header"),
        (Some("nonsense".to_owned()), "malformed_header"),
        (Some(format!("t={},v0=abc", now())), "no_v1_signature"),
        (Some(sign("whsec_other", now(), body)), "no_matching_signature"),
        (Some(sign(SECRET, now() - 400, body)), "timestamp_outside_tolerance"),
        (Some(sign(SECRET, now() + 400, body)), "timestamp_outside_tolerance"),
    ];
    for (signature, code) in refused {
        let answer = ingress.request(Method::POST, path, signature, *body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{code}");
        assert_eq!(answer.text().await.unwrap().trim(), code);
    }

    let large = vec![b' '; 1025];
    let answer = ingress.post(path, SECRET, &large).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let limit = vec![b' '; 1024];
    assert_eq!(ingress.post(path, "whsec_other", &limit).await.status(), StatusCode::BAD_REQUEST);

    for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
        let answer = ingress.request(method.clone(), path, good(), *body).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers()["allow"], "POST");
    }
    for path in ["/", "/webhooks", "/webhooks/stripe/unknown", "/webhooks/stripe/a/b", "/metrics"] {
        let answer = ingress.request(Method::POST, path, good(), *body).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert!(system.topic.records().await.unwrap().is_empty());
}

#[tokio::test]
async fn without_kafka_the_answer_is_503_with_retry_after() {
    let system = system("http_unavailable").await;
    let ingest = system.ingest("ingest", &[("KAFKA_DELIVERY_TIMEOUT", "500ms")]).await.unwrap();
    let ingress = Ingress::new(ingest.listen);
    let body = br#"{"id":"evt_1"}"#;
    assert_eq!(ingress.post("/webhooks/stripe", SECRET, body).await.status(), StatusCode::OK);

    // A topic that is gone acknowledges nothing.
    system.topic.delete().await.unwrap();
    let answer = ingress.post("/webhooks/stripe", SECRET, body).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn sockets_that_send_only_headers_keep_no_genuine_event_out() {
    let system = system("http_slow").await;
    let ingest = system.ingest("ingest", &[("INGEST_MAX_IN_FLIGHT", "8")]).await.unwrap();
    let ingress = Ingress::new(ingest.listen);
    let body = br#"{"id":"evt_1"}"#;
    let head = format!(
        "POST /webhooks/stripe HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut slow = Vec::new();
    for _ in 0..32 {
        let mut stream = TcpStream::connect(ingest.listen).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(ingress.post("/webhooks/stripe", SECRET, body).await.status(), StatusCode::OK);
    }
    // They are still waited for: what they send is answered.
    for stream in &mut slow {
        stream.write_all(body).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 400", "missing_header");
    }
}
