//! An object's newest snapshot: masked, and revealed to whoever asks for it by name.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Visitor;
use super::page::{Answer, Frame, html};
use super::problem::Problem;
use super::web::Console;
use crate::mask;

/// Which object.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    account: String,
    id: String,
}

#[derive(Template)]
#[template(path = "record.html")]
pub(super) struct Page {
    pub(super) frame: Frame,
    pub(super) id: String,
    /// Whose story leads on from here.
    pub(super) story: Option<String>,
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) body: String,
    pub(super) is_revealed: bool,
    /// Where the form goes.
    pub(super) action: String,
}

/// The page of an object of this account.
pub(super) fn address(account: &str, id: &str) -> String {
    let query = serde_urlencoded::to_string([("account", account), ("id", id)]);
    format!("/object?{}", query.unwrap_or_default())
}

/// `GET /object`.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Answer {
    show(&visitor, &asked, read(&console, &asked).await?, false)
}

/// `POST /object`: the same, with personal data.
pub(super) async fn reveal(
    State(console): State<Arc<Console>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Answer {
    let what = json!({"object": asked.id, "account": asked.account});
    let look = async || read(&console, &asked).await;
    show(&visitor, &asked, console.reader.revealing(&visitor, what, look).await?, true)
}

async fn read(console: &Console, asked: &Asked) -> Result<Option<Value>, Problem> {
    let mut tx = console.reader.begin().await?;
    let found = sqlx::query_scalar(
        "select snapshot from pay.stripe_object
         where object_id = $1 and account = $2 and snapshot is not null",
    );
    Ok(found.bind(&asked.id).bind(&asked.account).fetch_optional(&mut *tx).await?)
}

fn show(visitor: &Visitor, asked: &Asked, found: Option<Value>, is_revealed: bool) -> Answer {
    let Some(snapshot) = found else {
        let words = format!("there is no snapshot of {}", mask::text(&asked.id));
        return Err(Problem::NotFound(words));
    };
    let shown = if is_revealed { snapshot } else { mask::document(&snapshot) };
    html(&Page {
        frame: Frame::new(format!("Snapshot of {}", mask::text(&asked.id)), "", visitor),
        id: mask::text(&asked.id),
        story: Some(asked.id.clone()),
        facts: Vec::new(),
        body: format!("{shown:#}"),
        is_revealed,
        action: address(&asked.account, &asked.id),
    })
}
