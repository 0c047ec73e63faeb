//! From a raw record to what it says: the envelope, the objects inside, and what they prove.
//!
//! Decoding is lenient where Stripe's versions differ and strict where money would suffer. What
//! cannot be read is rejected with a reason; the record itself is kept by whoever called.

use crate::catalog::{self, Handling};
use crate::fact::Fact;
use crate::id;
use crate::json::{self, Doc, Malformed, Problem};
use crate::object::{
    Context, Kind, ObjectKey, Reading, Shows, application_fee, authorization, dispute, invoice,
};
use crate::order::{Newest, OrderingKey, Provenance};
use crate::record::{RawRecord, header};
use crate::settings::Settings;
use crate::state::{Milestones, ObjectState, Snapshot};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

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
    pub traceparent: Option<String>,
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
                traceparent: text(header::TRACEPARENT),
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

fn understand(envelope: &Envelope<'_>, settings: &Settings) -> Result<Decoded, Malformed> {
    let event = &envelope.event;
    let mut decoded = Decoded {
        event: event.clone(),
        disposition: Disposition::Unhandled,
        objects: Vec::new(),
        facts: Vec::new(),
    };
    if envelope.says_livemode && event.livemode != settings.livemode {
        decoded.disposition = Disposition::WrongLivemode;
        return Ok(decoded);
    }
    let Some(object) = envelope.object else {
        // A thin event announces; its object is to be fetched. Anything else must have one.
        return if envelope.is_thin {
            Ok(decoded)
        } else {
            Err(json::malformed("data.object", Problem::Missing))
        };
    };
    if catalog::handling(&event.kind) == Some(Handling::RecordedOnly) {
        return Ok(decoded);
    }
    let mut observer = Observer { event, connected: envelope.connected, settings, decoded };
    let modelled = observer.observe(object)?;
    let authorization = authorization::of_event(&event.kind, &event.account);
    for beside in authorization.iter().chain(&application_fee::share_of(object)) {
        observer.observe(beside)?;
    }
    let mut decoded = observer.decoded;
    if modelled || authorization.is_some() {
        if !envelope.says_livemode {
            return Err(json::malformed("livemode", Problem::Missing));
        }
        decoded.disposition = Disposition::Project;
    }
    Ok(decoded)
}

/// Collects what one event says.
struct Observer<'a> {
    event: &'a Event,
    connected: bool,
    settings: &'a Settings,
    decoded: Decoded,
}

impl Observer<'_> {
    /// Takes in an object and the objects inside it. Says whether its kind is modelled.
    fn observe(&mut self, object: &Value) -> Result<bool, Malformed> {
        let doc = Doc(object);
        let name = doc.text("object").unwrap_or("unknown");
        if !json::is_name(name) {
            return Err(json::malformed("data.object.object", Problem::BadId));
        }
        // An invoice without an id is a preview of the next one.
        let is_preview = name == invoice::NAME && doc.get("id").is_none();
        let Some(kind) = Kind::find(name).filter(|_| !is_preview) else {
            if doc.get("id").is_some() {
                let id = doc.need_text("id")?;
                if !json::is_name(id) {
                    return Err(json::malformed("id", Problem::BadId));
                }
                let key = ObjectKey::new(&self.event.account, id);
                self.record(key, name, object, &Reading::default());
            }
            return Ok(false);
        };
        let context = Context {
            account: &self.event.account,
            connected: self.connected,
            event_id: &self.event.id,
            keys: &self.settings.keys,
            platforms: &self.settings.platforms,
        };
        let identified = match name {
            "dispute" => dispute::with_id(object),
            _ => Cow::Borrowed(object),
        };
        let (object, doc) = (&*identified, Doc(&identified));
        let reading = kind.read(doc, &context)?;
        let id = doc.need_id()?;
        let key = match name {
            "account" => ObjectKey::of_account(id),
            application_fee::SHARE => application_fee::share_key(doc)?,
            _ => ObjectKey::new(&self.event.account, id),
        };
        self.link(&key, &reading);
        for proof in &reading.proofs {
            self.decoded.facts.push(Fact {
                fact_id: id::fact_id(proof.kind.as_str(), &key.account, &proof.subject),
                kind: proof.kind.as_str().to_owned(),
                account: key.account.clone(),
                subject: proof.subject.clone(),
                object_id: id.to_owned(),
                created: self.event.created,
                event_id: self.event.id.clone(),
                livemode: self.event.livemode,
                data: Value::Object(proof.data.clone()),
                held: proof.conditional,
            });
        }
        self.record(key, name, object, &reading);
        for inner in &reading.nested {
            // An expanded object is a gift: if this one cannot be read, its own events will tell.
            if Doc(inner).text("object").is_some_and(|name| Kind::find(name).is_some()) {
                let before = (self.decoded.objects.len(), self.decoded.facts.len());
                if self.observe(inner).is_err() {
                    self.decoded.objects.truncate(before.0);
                    self.decoded.facts.truncate(before.1);
                }
            }
        }
        Ok(true)
    }

    /// Says in both rows that they belong together, so that either finds the other.
    fn link(&mut self, key: &ObjectKey, reading: &Reading) {
        for other in reading.links.iter().filter(|other| **other != key.id) {
            let mut named = ObjectState::named(ObjectKey::new(&key.account, other));
            named.links.insert(key.id.clone());
            self.decoded.objects.push(named);
        }
    }

    fn record(&mut self, key: ObjectKey, kind: &str, object: &Value, reading: &Reading) {
        let event = self.event;
        let deleted = Doc(object).flag("deleted") || event.kind.ends_with(".deleted");
        let mut standing = reading.standing.clone();
        if deleted && Kind::find(kind).is_some() {
            // Nothing comes after a deletion.
            standing.final_rank = u8::MAX;
        } else if deleted {
            // Unless people choose the ids, as of coupons and plans, and choose one again.
            standing.status_rank = u8::MAX;
        }
        let from = Provenance {
            created: event.created,
            is_event: event.source != Source::Fetch,
            event_id: event.id.clone(),
        };
        let Shows { authorized, captured, failed } = reading.shows;
        let at = |shown: bool| shown.then_some(event.created);
        self.decoded.objects.push(ObjectState {
            newest: Some(Newest {
                key: OrderingKey::new(&standing, &from, &json::canonical_hash(object)),
                status: standing.status,
                tied: false,
                value: Snapshot {
                    kind: kind.to_owned(),
                    doc: object.clone(),
                    created: event.created,
                    event_id: event.id.clone(),
                    api_version: event.api_version.clone(),
                    livemode: event.livemode,
                    deleted,
                },
            }),
            links: reading.links.iter().cloned().collect(),
            connected: self.connected,
            milestones: Milestones {
                authorized_at: at(authorized),
                captured_at: at(captured),
                failed_at: at(failed),
            },
            key,
        });
    }
}
