//! What a decoded envelope's object says, and the objects inside and beside it.

use super::{Decoded, Disposition, Envelope, Event, Source};
use crate::catalog::{self, Handling};
use crate::fact::Fact;
use crate::id;
use crate::json::{self, Doc, Malformed, Problem};
use crate::object::{
    Context, Kind, ObjectKey, Reading, Shows, application_fee, authorization, capability, dispute,
    invoice,
};
use crate::order::{Newest, OrderingKey, Provenance};
use crate::settings::Settings;
use crate::state::{Milestones, ObjectState, Snapshot};
use serde_json::Value;
use std::borrow::Cow;

/// Everything that the event says, each object with what it proves.
pub(super) fn understand(
    envelope: &Envelope<'_>,
    settings: &Settings,
) -> Result<Decoded, Malformed> {
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
            // Its id says which it is, not whose.
            capability::NAME => {
                ObjectKey::new(doc.id_of("account").unwrap_or(&self.event.account), id)
            }
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
        let is_subject = event.object_id.as_deref() == Some(key.id.as_str());
        let deleted =
            Doc(object).flag("deleted") || (is_subject && event.kind.ends_with(".deleted"));
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
