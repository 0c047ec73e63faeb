//! `reconciler quarantine show`.

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use domain::record::header;
use serde_json::{Map, Value, json};
use service::exit::Outcome;
use service::stdout;
use sha2::{Digest as _, Sha256};

use super::kept::{self, Kept};
use super::place::Place;
use crate::cli::Read;
use crate::mask;
use crate::operation::{self, Operator};

/// What is told, in this order.
const NAMES: [&str; 16] = [
    "position",
    "topic_id",
    "cluster",
    "state",
    "reason",
    "detail",
    "event_id",
    "quarantined_at",
    "resolved_at",
    "resolved_by",
    "note",
    "key",
    "body_bytes",
    "body_sha256",
    "headers",
    "body",
];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The record: PARTITION:OFFSET, or the id of its event
    position: Place,
    /// Show signature and personal data too; that you did is recorded
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    by: Operator,
    #[command(flatten)]
    read: Read,
}

/// Prints the record, or all records of an event.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let pool = arguments.read.pool("quarantine")?;
    let records = {
        let mut connection = pool.acquire().await?;
        let keys = kept::find(&mut connection, std::slice::from_ref(&arguments.position)).await?;
        kept::load(&mut connection, &keys).await?
    };
    if !arguments.reveal {
        print(&records, arguments)?;
        return Ok(Outcome::Done);
    }
    let asked = json!({"position": arguments.position.to_string(), "reveal": true});
    operation::record(&pool, &arguments.by, "quarantine show", asked, async |_| {
        print(&records, arguments)?;
        Ok((Outcome::Done, json!({"records": records.len()})))
    })
    .await
}

fn print(records: &[Kept], arguments: &Arguments) -> io::Result<()> {
    let documents: Vec<Value> =
        records.iter().map(|kept| document(kept, arguments.reveal)).collect();
    stdout::print(|out| {
        if arguments.read.json {
            let document = json!({"revealed": arguments.reveal, "records": documents});
            return writeln!(out, "{document}");
        }
        for document in &documents {
            for name in NAMES {
                match &document[name] {
                    Value::Null => {}
                    Value::String(text) => writeln!(out, "{name:<16}{text}")?,
                    value @ Value::Object(_) => writeln!(out, "{name}\n{value:#}")?,
                    other => writeln!(out, "{name:<16}{other}")?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    })
}

/// What is shown of a record. A body that is no JSON has no keys to mask by: it is left out, unless
/// everything is revealed.
pub(crate) fn document(kept: &Kept, reveal: bool) -> Value {
    let record = &kept.record;
    let body = record.value.as_deref();
    let parsed: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
    let shown = match (parsed, body) {
        (Some(parsed), _) if reveal => parsed,
        (Some(parsed), _) => mask::document(&parsed),
        (None, None | Some([])) => Value::Null,
        (None, Some(body)) if reveal => text(body),
        (None, Some(_)) => "not JSON, so it cannot be masked: shown with --reveal only".into(),
    };
    let mut headers = Map::new();
    for (name, value) in &record.headers {
        let value = match value.as_deref().map(text) {
            None => Value::Null,
            Some(_) if !reveal && name == header::STRIPE_SIGNATURE => mask::MASKED.into(),
            Some(value) if !reveal => mask::document(&value),
            Some(value) => value,
        };
        headers.insert(name.clone(), value);
    }
    let key = record.key.as_deref().map(text).unwrap_or_default();
    json!({
        "position": kept.key.position(),
        "cluster": kept.key.cluster,
        "topic_id": kept.key.topic_id,
        "state": kept.key.state,
        "reason": kept.reason,
        "detail": kept.detail,
        "event_id": kept.event_id,
        "quarantined_at": kept.quarantined_at,
        "resolved_at": kept.resolved_at,
        "resolved_by": kept.resolved_by,
        "note": kept.note,
        "key": if reveal { key } else { mask::document(&key) },
        "headers": headers,
        "body": shown,
        "body_bytes": kept.key.bytes,
        "body_sha256": body.map(|body| hex::encode(Sha256::digest(body))),
    })
}

/// Bytes as text, in base64 where they are none.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => format!("base64:{}", STANDARD.encode(bytes)).into(),
    }
}
