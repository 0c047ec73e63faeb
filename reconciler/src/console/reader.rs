//! Reading the database: in transactions that write nothing, and the one thing that is written.

use serde_json::{Value, json};
use service::exit::{ConfigError, Outcome};
use service::secret::SecretString;
use sqlx::{PgPool, Postgres, Transaction};

use super::access::Visitor;
use super::problem::Problem;
use super::settings::Settings;
use crate::database;
use crate::operation::{self, Operator};

/// Connections to the database.
pub(super) struct Reader {
    reading: PgPool,
    /// For `pay.operation` alone.
    recording: PgPool,
}

impl Reader {
    pub(super) fn new(url: &SecretString, settings: &Settings) -> Result<Self, ConfigError> {
        let limits = settings.limits();
        Ok(Self {
            reading: database::reading_pool(url, "console", limits.requests, limits.statement)?,
            recording: database::pool(url, "console", 1)?,
        })
    }

    /// A transaction that sees one moment and can write nothing.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, Problem> {
        Ok(self.reading.begin_with("begin isolation level repeatable read read only").await?)
    }

    /// Notes who looks at what, and only then lets `look` do so.
    pub(super) async fn revealing<T>(
        &self,
        visitor: &Visitor,
        what: Value,
        look: impl AsyncFnOnce() -> Result<Option<T>, Problem>,
    ) -> Result<Option<T>, Problem> {
        let by = Operator { operator: visitor.name.clone() };
        let mut seen = Ok(None);
        operation::record(&self.recording, &by, "console reveal", what, async |_| {
            seen = look().await;
            let count = usize::from(matches!(seen, Ok(Some(_))));
            Ok((Outcome::Done, json!({"revealed": count})))
        })
        .await?;
        seen
    }
}
