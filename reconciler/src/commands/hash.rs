//! `reconciler hash`: prints the hash of the state, a part a line.

use std::io::Write as _;

use serde_json::{Map, Value};
use service::exit::Outcome;
use service::stdout;

use crate::cli::Read;
use crate::database;
use crate::hash;

/// Prints `NAME HEX` a line, or one JSON object.
pub(crate) async fn run(read: &Read) -> anyhow::Result<Outcome> {
    // Every row is read: on a large database that takes longer than a statement may elsewhere.
    let mut connection =
        database::patient_pool(&read.database.url()?, "hash", 1)?.acquire().await?;
    let parts = hash::of(&mut connection).await?;
    stdout::print(|out| {
        if read.json {
            let document: Map<String, Value> = parts
                .into_iter()
                .map(|(name, hash)| (name.to_owned(), hash.to_string().into()))
                .collect();
            return writeln!(out, "{}", Value::Object(document));
        }
        parts.into_iter().try_for_each(|(name, hash)| writeln!(out, "{name} {hash}"))
    })?;
    Ok(Outcome::Done)
}
