//! `reconciler hash`: prints the hash of the state, a part a line.

use std::io::Write as _;

use serde_json::{Map, Value};
use service::exit::Outcome;

use crate::cli::Read;
use crate::hash;

/// Prints `NAME HEX` a line, or one JSON object.
pub(crate) async fn run(read: &Read) -> anyhow::Result<Outcome> {
    let mut connection = read.pool("hash")?.acquire().await?;
    let parts = hash::of(&mut connection).await?;
    let mut out = std::io::stdout().lock();
    if read.json {
        let document: Map<String, Value> = parts
            .into_iter()
            .map(|(name, hash)| (name.to_owned(), hash.to_string().into()))
            .collect();
        writeln!(out, "{}", Value::Object(document))?;
    } else {
        for (name, hash) in parts {
            writeln!(out, "{name} {hash}")?;
        }
    }
    Ok(Outcome::Done)
}
