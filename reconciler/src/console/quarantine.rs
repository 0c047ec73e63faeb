//! A record in quarantine, as `reconciler quarantine show` shows it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Visitor;
use super::cell::plain;
use super::object::Page;
use super::page::{Answer, Frame, html};
use super::problem::Problem;
use super::web::Console;
use crate::commands::quarantine::kept::{self, Kept};
use crate::commands::quarantine::place::Place;
use crate::commands::quarantine::show;

/// Which record.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    place: String,
}

/// What stands above the body: its name in the document, and for people.
const FACTS: [(&str, &str); 12] = [
    ("state", "State"),
    ("reason", "Reason"),
    ("detail", "What is wrong"),
    ("event_id", "Event"),
    ("quarantined_at", "Since"),
    ("resolved_at", "Resolved"),
    ("note", "Note"),
    ("key", "Key"),
    ("topic_id", "Topic"),
    ("cluster", "Cluster"),
    ("body_bytes", "Bytes"),
    ("body_sha256", "SHA-256"),
];

/// `GET /quarantine/record`.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Answer {
    tell(&visitor, &asked, read(&console, &asked).await?.as_ref(), false)
}

/// `POST /quarantine/record`: the same, with personal data.
pub(super) async fn reveal(
    State(console): State<Arc<Console>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Answer {
    let look = async || read(&console, &asked).await;
    let what = json!({"position": asked.place});
    let found = console.reader.revealing(&visitor, what, look).await?;
    tell(&visitor, &asked, found.as_ref(), true)
}

async fn read(console: &Console, asked: &Asked) -> Result<Option<Kept>, Problem> {
    let place: Place =
        asked.place.parse().map_err(|error| Problem::BadRequest(format!("place: {error}")))?;
    let mut tx = console.reader.begin().await?;
    let keys = kept::at(&mut tx, &place).await?;
    Ok(kept::load(&mut tx, keys.get(..1).unwrap_or_default()).await?.pop())
}

fn tell(visitor: &Visitor, asked: &Asked, found: Option<&Kept>, is_revealed: bool) -> Answer {
    let Some(kept) = found else {
        return Err(Problem::NotFound("this record is not in quarantine".to_owned()));
    };
    let document = show::document(kept, is_revealed);
    let mut facts: Vec<_> =
        FACTS.iter().map(|(field, name)| (*name, plain(&document[*field]))).collect();
    facts.retain(|(_, said)| !said.is_empty());
    let query = serde_urlencoded::to_string([("place", &asked.place)]).unwrap_or_default();
    let body = match &document["body"] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        body => format!("{body:#}"),
    };
    let headers = format!("{:#}", document["headers"]);
    html(&Page {
        frame: Frame::new(format!("Record {}", kept.key.position()), "/quarantine", visitor),
        id: kept.key.position(),
        story: kept.event_id.clone(),
        facts,
        body: format!("{headers}\n\n{body}"),
        is_revealed,
        action: format!("/quarantine/record?{query}"),
    })
}
