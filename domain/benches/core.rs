//! What one webhook costs in the pure core, step by step: `./dev bench core`.
//!
//! Bodies are of generated lifecycles, one of each kind, and the corpus of real payloads where
//! `CORPUS_DIR` or the folder beside the project has it. The counter is bytes of bodies, so that
//! steps compare whatever the mix is.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use domain::aggregate::{self, States};
use domain::derive::{Providers, derive};
use domain::event::{Decoded, decode};
use domain::json::canonical_hash;
use domain::peek::peek;
use domain::record::{RawRecord, header};
use domain::settings::Settings;
use domain::signature::{Key, sign, verify};
use domain::state::ObjectState;
use lifecycles::Stripe;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::{env, fs};

fn main() {
    divan::main();
}

const SECRET: &str = "whsec_bench";
const NOW_S: u64 = 1_800_000_000;

/// Bodies by where they are from.
#[derive(Debug, Clone, Copy)]
enum From {
    Lifecycles,
    Corpus,
}

const ALL: [From; 2] = [From::Lifecycles, From::Corpus];

impl From {
    /// Empty where the corpus is not there: then there is nothing to measure.
    fn records(self) -> &'static [RawRecord] {
        static LIFECYCLES: LazyLock<Vec<RawRecord>> = LazyLock::new(|| {
            let lives = Stripe::new(5, 1_750_000_000).mixed(200);
            let events = lives.iter().flat_map(|life| &life.events);
            events.map(|event| record(event.to_body().into_bytes())).collect()
        });
        static CORPUS: LazyLock<Vec<RawRecord>> = LazyLock::new(|| {
            let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus");
            let folder = env::var_os("CORPUS_DIR").map_or_else(|| beside.into(), PathBuf::from);
            let mut bodies = Vec::new();
            collect(&folder.join("events"), &mut bodies);
            bodies.into_iter().map(record).collect()
        });
        match self {
            Self::Lifecycles => &LIFECYCLES,
            Self::Corpus => &CORPUS,
        }
    }

    fn decoded(self) -> Vec<Decoded> {
        let settings = Settings::new(false);
        self.records().iter().filter_map(|record| decode(record, &settings).ok()).collect()
    }
}

fn collect(path: &Path, bodies: &mut Vec<Vec<u8>>) {
    if let Ok(entries) = fs::read_dir(path) {
        entries.flatten().for_each(|entry| collect(&entry.path(), bodies));
    } else if let Ok(body) = fs::read(path) {
        bodies.push(body);
    }
}

fn record(body: Vec<u8>) -> RawRecord {
    RawRecord {
        partition: 0,
        offset: 0,
        timestamp_ms: 0,
        key: None,
        headers: vec![(header::SOURCE.to_owned(), Some("webhook".into()))],
        value: Some(body.into()),
    }
}

/// Runs a step for every body; counts bodies and their bytes.
fn each(bencher: Bencher, from: From, step: impl Fn(&RawRecord) + Sync) {
    let records = from.records();
    let bytes: usize = records.iter().map(|record| body(record).len()).sum();
    bencher
        .counter(ItemsCount::new(records.len()))
        .counter(BytesCount::new(bytes))
        .bench(|| records.iter().for_each(&step));
}

fn body(record: &RawRecord) -> &[u8] {
    record.value.as_deref().unwrap_or_default()
}

/// The signature's check, as ingest does it.
#[divan::bench(args = ALL)]
fn step_1_verify(bencher: Bencher, from: From) {
    let keys = [Key::new(SECRET)];
    let records = from.records();
    let headers: Vec<String> =
        records.iter().map(|record| sign(SECRET, NOW_S, body(record))).collect();
    bencher.counter(ItemsCount::new(records.len())).bench(|| {
        for (record, header) in records.iter().zip(&headers) {
            black_box(verify(Some(header), body(record), &keys, NOW_S, 300)).ok();
        }
    });
}

/// Key and headers of the raw topic's record.
#[divan::bench(args = ALL)]
fn step_2_peek(bencher: Bencher, from: From) {
    each(bencher, from, |record| drop(black_box(peek(body(record)))));
}

/// All that the projection needs of a record.
#[divan::bench(args = ALL)]
fn step_3_decode(bencher: Bencher, from: From) {
    let settings = Settings::new(false);
    each(bencher, from, |record| drop(black_box(decode(record, &settings))));
}

/// Of decoding: reading the JSON.
#[divan::bench(args = ALL)]
fn step_3a_parse(bencher: Bencher, from: From) {
    each(bencher, from, |record| drop(black_box(serde_json::from_slice::<Value>(body(record)))));
}

/// Of decoding: the hash of the canonical form, taken of the event's data and of its object.
#[divan::bench(args = ALL)]
fn step_3b_canonical_hash(bencher: Bencher, from: From) {
    let parse = |record| serde_json::from_slice(body(record)).ok();
    let docs: Vec<Value> = from.records().iter().filter_map(parse).collect();
    bencher.counter(ItemsCount::new(docs.len())).bench(|| {
        for doc in &docs {
            black_box(canonical_hash(&doc["data"]));
        }
    });
}

/// Joining what every event says into the states: the total order at work.
#[divan::bench(args = ALL)]
fn step_4_join(bencher: Bencher, from: From) {
    let decoded = from.decoded();
    bencher
        .counter(ItemsCount::new(decoded.len()))
        .with_inputs(|| decoded.clone())
        .bench_values(states);
}

fn states(decoded: Vec<Decoded>) -> States {
    let mut states = States::new();
    for said in decoded.into_iter().flat_map(|decoded| decoded.objects) {
        let known = states.remove(&said.key);
        let known = known.unwrap_or_else(|| ObjectState::named(said.key.clone()));
        states.insert(said.key.clone(), known.join(said));
    }
    states
}

/// Rows and the ledger's targets of every aggregate.
#[divan::bench(args = ALL)]
fn step_5_derive(bencher: Bencher, from: From) {
    let decoded = from.decoded();
    let count = decoded.len();
    let states = states(decoded);
    let settings = Settings::new(false);
    bencher.counter(ItemsCount::new(count)).bench(|| {
        for aggregate in aggregate::components(&states) {
            drop(black_box(derive(&aggregate, &Providers::new(), &settings)));
        }
    });
}
