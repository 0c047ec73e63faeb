//! Where Postgres still speaks of what was erased from the archive. Nothing of it is touched.

use sqlx::{PgConnection, Row as _};

/// Ids that are told of a table; all rows are counted.
pub(super) const TOLD: i64 = 20;

/// What one table says of them.
#[derive(Debug)]
pub(super) struct Spoken {
    pub(super) table: &'static str,
    pub(super) rows: i64,
    pub(super) ids: Vec<String>,
}

/// Tables that have rows of these events or objects.
pub(super) async fn rows(
    connection: &mut PgConnection,
    events: &[String],
    objects: &[String],
) -> sqlx::Result<Vec<Spoken>> {
    // The key of each table comes first in an index.
    let queries = [
        (
            "pay.event",
            "select event_id as id from pay.event
           where event_id = any($1) union select event_id from pay.event where object_id = any($2)",
        ),
        (
            "pay.stripe_object",
            "select object_id as id from pay.stripe_object
           where object_id = any($2) and snapshot is not null and $1::text[] is not null",
        ),
        (
            "pay.quarantine",
            "select partition || ':' || kafka_offset as id from pay.quarantine
           where event_id = any($1) and $2::text[] is not null",
        ),
    ];
    let mut found = Vec::new();
    for (table, query) in queries {
        let sql = format!(
            "with found as ({query})
             select (select count(*) from found) as rows,
               array(select id from found order by id limit $3) as ids"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(events)
            .bind(objects)
            .bind(TOLD)
            .fetch_one(&mut *connection)
            .await?;
        let rows: i64 = row.try_get("rows")?;
        if rows > 0 {
            found.push(Spoken { table, rows, ids: row.try_get("ids")? });
        }
    }
    Ok(found)
}
