//! What is sent: bodies from files, or from the model of Stripe.

use anyhow::{Context as _, bail};
use lifecycles::{Lifecycle, Rng};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// One request's body, and what it is called in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Event id, if the body says one.
    pub id: Option<String>,
    /// Where it comes from: a file, a line of one, or a scenario.
    pub origin: String,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

impl Payload {
    /// A payload with the id that the body says.
    pub fn new(origin: impl Into<String>, body: Vec<u8>) -> Self {
        let id = serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|body| Some(body.get("id")?.as_str()?.to_owned()));
        Self { id, origin: origin.into(), body }
    }

    /// The same event under another id. Bodies that are no JSON object stay as they are.
    #[must_use]
    pub fn with_new_id(self, ids: &mut Rng) -> Self {
        let Ok(Value::Object(mut event)) = serde_json::from_slice(&self.body) else { return self };
        let id = ids.id("evt");
        event.insert("id".to_owned(), Value::String(id.clone()));
        let body = format!("{:#}", Value::Object(event)).into_bytes();
        Self { id: Some(id), origin: self.origin, body }
    }
}

/// The events of lifecycles, in the order of their time at Stripe.
pub fn generated(lifecycles: &[Lifecycle]) -> Vec<Payload> {
    let mut events: Vec<_> = lifecycles
        .iter()
        .flat_map(|story| story.events.iter().map(move |event| (event, story.scenario)))
        .collect();
    events.sort_by_key(|(event, _)| event.created);
    events
        .into_iter()
        .map(|(event, scenario)| Payload {
            id: Some(event.id.clone()),
            origin: format!("{scenario} {}", event.kind),
            body: event.to_body().into_bytes(),
        })
        .collect()
}

/// Reads a file (`.jsonl`: one body a line; anything else: one body), or all files of a directory
/// and below it, in the order of their names.
pub fn read(path: &Path) -> anyhow::Result<Vec<Payload>> {
    let mut payloads = Vec::new();
    collect(path, &mut payloads)?;
    if payloads.is_empty() {
        bail!("{}: nothing to send", path.display());
    }
    Ok(payloads)
}

fn collect(path: &Path, payloads: &mut Vec<Payload>) -> anyhow::Result<()> {
    let place = || path.display().to_string();
    if path.is_dir() {
        let entries: Result<Vec<_>, _> = fs::read_dir(path).with_context(place)?.collect();
        let mut paths: Vec<_> =
            entries.with_context(place)?.into_iter().map(|entry| entry.path()).collect();
        paths.sort();
        return paths.iter().try_for_each(|path| collect(path, payloads));
    }
    let content = fs::read(path).with_context(place)?;
    if path.extension().is_some_and(|extension| extension == "jsonl") {
        let lines = content.split(|byte| *byte == b'\n').enumerate();
        let full = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
        payloads.extend(full.map(|(number, line)| {
            Payload::new(format!("{}:{}", path.display(), number + 1), line.to_vec())
        }));
    } else {
        payloads.push(Payload::new(place(), content));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_changes_nothing_else() {
        let body = br#"{"id":"evt_00000000000000","type":"ping","data":{"object":{"id":"x"}}}"#;
        let old = Payload::new("test", body.to_vec());
        let new = old.clone().with_new_id(&mut Rng::new(1));
        assert_eq!(old.id.as_deref(), Some("evt_00000000000000"));
        assert_ne!(new.id, old.id);
        let (mut old, mut new): (Value, Value) = (
            serde_json::from_slice(&old.body).unwrap(),
            serde_json::from_slice(&new.body).unwrap(),
        );
        old["id"].take();
        new["id"].take();
        assert_eq!(old, new);
    }

    #[test]
    fn what_is_not_json_is_sent_as_it_is() {
        let odd = Payload::new("test", b"\xff{".to_vec());
        assert_eq!(odd.clone().with_new_id(&mut Rng::new(1)), odd);
    }

    #[test]
    fn a_jsonl_file_holds_a_body_a_line() {
        let path = std::env::temp_dir().join(format!("load-{}.jsonl", std::process::id()));
        fs::write(&path, "{\"id\":\"evt_1\"}\n\n{\"id\":\"evt_2\"}\n").unwrap();
        let payloads = read(&path);
        fs::remove_file(&path).unwrap();
        let ids: Vec<_> = payloads.unwrap().into_iter().filter_map(|payload| payload.id).collect();
        assert_eq!(ids, ["evt_1", "evt_2"]);
    }
}
