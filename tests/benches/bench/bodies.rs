//! What is sent: events of mixed lifecycles, made from a seed, and real payloads where they are.

use domain::peek::{Peek, peek};
use domain::record::header;
use harness::demo::default_corpus;
use harness::load::{self, Payload};
use lifecycles::{Lifecycle, Rng, Stripe};

/// Stripe's time of the first event: lifecycles reach into the future from here.
const START: i64 = 1_750_000_000;
/// Fewest events that a lifecycle of the mix has on average.
const EVENTS_A_LIFECYCLE: usize = 3;

/// Whole lifecycles, and their events in the order of their time at Stripe.
pub(crate) struct Lives {
    /// The lifecycles: their inputs, and what they must come to.
    pub(crate) lives: Vec<Lifecycle>,
    /// Their events.
    pub(crate) payloads: Vec<Payload>,
}

impl Lives {
    /// This many lifecycles of every kind in turn. Another seed gives others with other ids.
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        let lives = Stripe::new(seed, START).mixed(count);
        let payloads = load::generated(&lives);
        Self { lives, payloads }
    }
}

/// This many events of lifecycles, each once, in the order of their time at Stripe. Another seed
/// gives other events with other ids.
pub(crate) fn events(seed: u64, count: usize) -> Vec<Payload> {
    let mut stripe = Stripe::new(seed, START);
    let mut events = load::generated(&stripe.mixed(count / EVENTS_A_LIFECYCLE + 1));
    while events.len() < count {
        events.extend(load::generated(&stripe.mixed(count / EVENTS_A_LIFECYCLE + 1)));
    }
    events.truncate(count);
    events
}

/// [`events`], with the corpus of real payloads added where its folder is there.
pub(crate) fn varied(seed: u64, count: usize) -> anyhow::Result<Vec<Payload>> {
    let mut payloads = events(seed, count);
    let corpus = default_corpus().join("events");
    if corpus.is_dir() {
        let mut ids = Rng::new(seed);
        payloads.extend(load::read(&corpus)?.into_iter().map(|it| it.with_new_id(&mut ids)));
    }
    Ok(payloads)
}

/// Key and headers of the raw topic's record, as ingest writes them, but for the signature.
pub(crate) fn key_and_headers(body: &[u8]) -> (String, Vec<(&'static str, String)>) {
    let Peek { id, event_type, created, account, livemode, api_version, key, .. } = peek(body);
    let own = |text: Option<std::borrow::Cow<'_, str>>| text.map(std::borrow::Cow::into_owned);
    let headers = [
        (header::EVENT_ID, own(id)),
        (header::EVENT_TYPE, own(event_type)),
        (header::ENDPOINT, Some("default".to_owned())),
        (header::ACCOUNT, own(account)),
        (header::API_VERSION, own(api_version)),
        (header::LIVEMODE, livemode.map(|live| live.to_string())),
        (header::CREATED, created.map(|created| created.to_string())),
        (header::RECEIVED_AT, Some(format!("{START}000"))),
        (header::SOURCE, Some("webhook".to_owned())),
    ];
    let known = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
    (key.into_owned(), known.collect())
}
