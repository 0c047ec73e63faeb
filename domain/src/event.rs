//! From a raw record to what it says: the envelope, the objects inside, and what they prove.
//!
//! Decoding is lenient where Stripe's versions differ and strict where money would suffer. What
//! cannot be read is rejected with a reason; the record itself is kept by whoever called.

use crate::fact::Fact;
use crate::json::{self, Doc, Malformed, Problem};
use crate::record::{RawRecord, header};
use crate::settings::Settings;
use crate::state::ObjectState;
use crate::trace::Traceparent;
use serde_json::Value;
use std::fmt;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

mod observe;

use observe::understand;

/// How a record was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Stripe sent it to an endpoint.
    Webhook,
    /// From Stripe's list of events.
    List,
    /// An object that Stripe was asked for.
    Fetch,
}

impl Source {
    /// The header's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::List => "stripe_list",
            Self::Fetch => "stripe_fetch",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Webhook, Self::List, Self::Fetch].into_iter().find(|source| source.as_str() == text)
    }
}

/// An event's envelope. Two records with equal id, account and data hash are the same event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `evt_…`, or `fetch_…` for a fetched object.
    pub id: String,
    /// Stripe account that owns the object; empty when unknown.
    pub account: String,
    /// SHA-256 of the canonical JSON of the event's `data` (of all of it, where it has none).
    pub data_hash: [u8; 32],
    /// Stripe's time, Unix seconds.
    pub created: i64,
    /// Stripe's event type.
    pub kind: String,
    /// API version of the payload's shape.
    pub api_version: Option<String>,
    /// False for test events.
    pub livemode: bool,
    /// How it was learnt.
    pub source: Source,
    /// Endpoint that received it.
    pub endpoint: Option<String>,
    /// Id of its object, where it has one.
    pub object_id: Option<String>,
    /// W3C Trace Context of the request.
    pub traceparent: Option<Traceparent>,
    /// Our time of receipt, Unix milliseconds.
    pub received_at_ms: Option<i64>,
}

/// What is to be done with a decoded event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Its object is modelled.
    Project,
    /// Its object is not: the newest snapshot is kept, nothing else.
    Unhandled,
    /// Live where test is projected, or the other way: recorded only.
    WrongLivemode,
}

/// A record, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The envelope.
    pub event: Event,
    /// What is to be done with it.
    pub disposition: Disposition,
    /// What it says of each object, the ones only named included.
    pub objects: Vec<ObjectState>,
    /// What it proves.
    pub facts: Vec<Fact>,
}

/// Why a record cannot be applied. A closed set: the codes are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No `source` header that we know: ingest did not write it.
    UnknownSource,
    /// No value, or an empty one.
    Empty,
    /// Larger than [`Settings::max_value_bytes`].
    TooLarge,
    /// Not JSON, nested too deep, or not an object.
    NotJson,
    /// Holds U+0000, which PostgreSQL cannot keep.
    NulCharacter,
    /// An id that is none: too long, or with characters that no id has.
    BadId,
    /// A field that the core cannot do without is missing.
    FieldMissing,
    /// A field has another type than it must.
    WrongType,
    /// A status that this version does not know.
    UnknownStatus,
    /// PostgreSQL refused it, while it took its neighbours.
    DatabaseRefused,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::UnknownSource,
        Self::Empty,
        Self::TooLarge,
        Self::NotJson,
        Self::NulCharacter,
        Self::BadId,
        Self::FieldMissing,
        Self::WrongType,
        Self::UnknownStatus,
        Self::DatabaseRefused,
    ];

    /// The code in `pay.quarantine.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownSource => "unknown_source",
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::NotJson => "not_json",
            Self::NulCharacter => "nul_character",
            Self::BadId => "bad_id",
            Self::FieldMissing => "field_missing",
            Self::WrongType => "wrong_type",
            Self::UnknownStatus => "unknown_status",
            Self::DatabaseRefused => "database_refused",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub reason: Reason,
    /// The place, and what was wrong there. Never a value.
    pub detail: String,
    /// Its envelope, where that much could be read: the event is known even if it cannot be used.
    pub event: Option<Box<Event>>,
}

impl Rejected {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), event: None }
    }
}

impl From<Malformed> for Rejected {
    fn from(error: Malformed) -> Self {
        let reason = match error.problem {
            Problem::Missing => Reason::FieldMissing,
            Problem::WrongType => Reason::WrongType,
            Problem::UnknownStatus => Reason::UnknownStatus,
            Problem::BadId => Reason::BadId,
        };
        Self::new(reason, error.to_string())
    }
}

/// Understands a record.
pub fn decode(record: &RawRecord, settings: &Settings) -> Result<Decoded, Rejected> {
    let source = record
        .header(header::SOURCE)
        .and_then(Source::parse)
        .ok_or_else(|| Rejected::new(Reason::UnknownSource, "header source: missing or unknown"))?;
    let value = record.value.as_deref().unwrap_or_default();
    if value.is_empty() {
        return Err(Rejected::new(Reason::Empty, "value: empty"));
    }
    if value.len() > settings.max_value_bytes {
        let detail = format!("value: {} bytes, limit {}", value.len(), settings.max_value_bytes);
        return Err(Rejected::new(Reason::TooLarge, detail));
    }
    let mut body: Value = serde_json::from_slice(value).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Rejected::new(Reason::NotJson, format!("{place}: {:?} error", error.classify()))
    })?;
    if !body.is_object() {
        return Err(Rejected::new(Reason::NotJson, "value: not an object"));
    }
    json::normalize_numbers(&mut body);
    let envelope = Envelope::read(record, source, &body, settings)?;
    let understood = if json::holds_nul(&body) {
        Err(Rejected::new(Reason::NulCharacter, "value: holds U+0000"))
    } else {
        understand(&envelope, settings).map_err(Rejected::from)
    };
    understood.map_err(|error| Rejected { event: Some(Box::new(envelope.event)), ..error })
}

/// The envelope, beside what it encloses.
struct Envelope<'a> {
    event: Event,
    connected: bool,
    object: Option<&'a Value>,
    is_thin: bool,
    says_livemode: bool,
}

impl<'a> Envelope<'a> {
    fn read(
        record: &RawRecord,
        source: Source,
        body: &'a Value,
        settings: &Settings,
    ) -> Result<Self, Malformed> {
        let doc = Doc(body);
        let text = |name| record.header(name).filter(|text| json::is_id(text)).map(str::to_owned);
        let is_fetch = source == Source::Fetch;
        let (id, kind, created) = if is_fetch {
            let id = text(header::EVENT_ID)
                .ok_or_else(|| json::malformed("header event_id", Problem::Missing))?;
            let created = record.header(header::CREATED).and_then(|text| text.parse().ok());
            let created = created
                .filter(|created| json::is_time(*created))
                .ok_or_else(|| json::malformed("header created", Problem::Missing))?;
            let kind = format!("fetch.{}", doc.need_text("object")?);
            (id, kind, created)
        } else {
            (doc.need_id()?.to_owned(), doc.need_text("type")?.to_owned(), event_time(doc)?)
        };
        // Types are Stripe's to invent, so this is not strict about their characters.
        if !json::is_name(&kind) {
            return Err(json::malformed("type", Problem::BadId));
        }
        // Connect events carried `user_id` before 2017-05-25.
        let connected_account =
            if is_fetch { None } else { doc.id_of("account").or_else(|| doc.id_of("user_id")) };
        // Whatever was asked for says nothing of the account: who asked wrote it beside the answer.
        let asked_for = text(header::ACCOUNT).filter(|_| source != Source::Webhook);
        let connected = connected_account
            .or(asked_for.as_deref())
            .is_some_and(|account| !settings.platforms.contains(account));
        let data = if is_fetch { None } else { doc.child("data") };
        let object = if is_fetch { Some(body) } else { data.and_then(|data| data.get("object")) };
        let object = object.filter(|object| object.is_object());
        let livemode = doc.get("livemode").and_then(Value::as_bool);
        let livemode = livemode
            .or_else(|| object?.get("livemode")?.as_bool())
            .or_else(|| record.header(header::LIVEMODE)?.parse().ok());
        // A thin event has no object but says which one it is about.
        let object_id = object
            .and_then(|object| Doc(object).text("id"))
            .or_else(|| doc.child("related_object")?.text("id"));
        let object_id = object_id.filter(|id| json::is_name(id)).map(str::to_owned);
        Ok(Self {
            connected,
            event: Event {
                id,
                account: connected_account
                    .map(str::to_owned)
                    .or_else(|| text(header::ACCOUNT))
                    .unwrap_or_default(),
                data_hash: json::canonical_hash(data.map_or(body, |data| data.0)),
                created,
                kind,
                api_version: doc
                    .text("api_version")
                    .filter(|text| json::is_id(text))
                    .map(str::to_owned)
                    .or_else(|| text(header::API_VERSION)),
                livemode: livemode.unwrap_or(false),
                source,
                endpoint: text(header::ENDPOINT),
                object_id,
                traceparent: record.header(header::TRACEPARENT).and_then(Traceparent::parse),
                received_at_ms: record
                    .header(header::RECEIVED_AT)
                    .and_then(|text| text.parse().ok())
                    .filter(|at| json::is_time(*at / 1000)),
            },
            object,
            is_thin: doc.text("object") == Some("v2.core.event"),
            says_livemode: livemode.is_some(),
        })
    }
}

/// `created`: Unix seconds, or RFC 3339 in thin events.
fn event_time(doc: Doc<'_>) -> Result<i64, Malformed> {
    let value = doc.get("created").ok_or_else(|| json::malformed("created", Problem::Missing))?;
    let parsed = value
        .as_i64()
        .or_else(|| Some(OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()?.unix_timestamp()));
    parsed
        .filter(|created| json::is_time(*created))
        .ok_or_else(|| json::malformed("created", Problem::WrongType))
}
