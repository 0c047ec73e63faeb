//! The corpus' signature cases against the running binary.
//!
//! A running binary has its own clock and takes only secrets that begin with `whsec_`. So each case
//! is told anew: its time is moved by as much as its clock is from ours, and signatures that are
//! genuine in the case are made anew with our secret. What the pure function says of the original
//! is what the binary must answer.

use crate::system;
use domain::signature::{Key, Refusal, sign, verify};
use harness::demo::default_corpus;
use harness::process::run_unread;
use harness::system::{Ingest, SECRET};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

struct Case {
    name: String,
    secret: String,
    header: String,
    payload: String,
    now: u64,
    tolerance: u64,
}

impl Case {
    fn read(line: &str) -> Self {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| case[field].as_str().unwrap_or_default().to_owned();
        Self {
            name: format!("{} {}", case["n"], text("case")),
            secret: text("secret"),
            header: text("header"),
            payload: text("payload"),
            now: case["now"].as_u64().or(case["timestamp"].as_u64()).unwrap_or(1_700_000_000),
            tolerance: case["tolerance"].as_u64().unwrap_or(300),
        }
    }

    fn expected(&self) -> Result<usize, Refusal> {
        let keys = [Key::new(&self.secret)];
        verify(Some(&self.header), self.payload.as_bytes(), &keys, self.now, self.tolerance)
    }

    /// The header as it would be now, from us.
    fn header_at(&self, now: u64) -> String {
        let mut element_time = None;
        let elements = self.header.split(',').map(|element| {
            let time = element.strip_prefix("t=").and_then(|time| time.parse::<u64>().ok());
            if let Some(time) = time {
                element_time = Some(time);
                return format!("t={}", self.moved(time, now));
            }
            element.to_owned()
        });
        let elements: Vec<_> = elements.collect();
        let Some(time) = element_time else { return self.header.clone() };
        let v1 = |secret: &str, time| {
            let header = sign(secret, time, self.payload.as_bytes());
            header.split_once(',').unwrap().1.to_owned()
        };
        let (genuine, ours) = (v1(&self.secret, time), v1(SECRET, self.moved(time, now)));
        let renew = |element: String| if element == genuine { ours.clone() } else { element };
        elements.into_iter().map(renew).collect::<Vec<_>>().join(",")
    }

    fn moved(&self, time: u64, now: u64) -> u64 {
        (time + now).saturating_sub(self.now)
    }
}

async fn answer(ingest: &Ingest, case: &Case) -> (u16, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client
        .post(format!("http://{}/webhooks/stripe", ingest.listen))
        .header("stripe-signature", case.header_at(now))
        .body(case.payload.clone())
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn every_case_of_the_corpus_is_answered_as_the_function_says() {
    let Ok(cases) = std::fs::read_to_string(default_corpus().join("signatures.jsonl")) else {
        println!("no corpus: its signature cases are not tested");
        return;
    };
    let system = system("signatures").await;
    let checking = system.ingest("checking", &[]).await.unwrap();
    let timeless = [("STRIPE_SIGNATURE_TOLERANCE", "0s")];
    let timeless = system.ingest("timeless", &timeless).await.unwrap();
    let mut seen = 0;
    for case in cases.lines().map(Case::read) {
        // Tolerances below the default are told apart by the function's own tests.
        let ingest = if case.tolerance == 0 { &timeless } else { &checking };
        let expected = match case.expected() {
            Ok(_) => (200, String::new()),
            Err(refusal) => (400, refusal.code().to_owned()),
        };
        let (status, text) = answer(ingest, &case).await;
        assert_eq!((status, text.trim().to_owned()), expected, "case {}", case.name);
        seen += 1;
    }
    assert!(seen >= 40, "{seen} cases");
}

#[tokio::test]
async fn a_reader_that_is_gone_is_no_failure_of_a_command_that_prints() {
    let system = system("unread").await;
    for (binary, arguments, code) in [
        ("ingest", &["verify", "--header", "t=1,v1=00"][..], 0),
        ("ingest", &["verify", "--header", "t=1,v1=00", "--json"], 0),
        ("ingest", &["verify", "--header", "nonsense"], 3),
        ("ingest", &["--check-config"], 0),
        ("reconciler", &["hash"], 0),
        ("reconciler", &["hash", "--json"], 0),
        ("reconciler", &["migrate"], 0),
    ] {
        let output = run_unread(binary, arguments, &system.env()).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{binary} {arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
