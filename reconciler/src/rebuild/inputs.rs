//! What the log does not determine, copied from the live database: quotes, who owns which connected
//! account, what people decided about records in quarantine, and the columns that others write.

use anyhow::Context as _;
use futures::TryStreamExt as _;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

/// What `requirements` is until a record has said something of the account: no record can say this.
const UNSAID: &str = r#"{"rebuild": "no record has said anything yet"}"#;
/// Rows of one statement.
const PAGE: usize = 1000;

/// Makes the inputs what they are in the live database. What changed is queued to be derived again,
/// as it is where people change them; what comes before the first record need not be.
pub(super) async fn copy(
    live: &mut PgConnection,
    rebuilt: &mut PgConnection,
) -> anyhow::Result<()> {
    let mut tx = rebuilt.begin().await?;
    let is_fresh: bool =
        sqlx::query_scalar("select not exists (select from pay.event)").fetch_one(&mut *tx).await?;
    let triggers = async |tx: &mut PgConnection, state: &str| {
        let sql = format!(
            "alter table pay.quote {state} trigger quote_rederive;
             alter table acc.provider_connect {state} trigger provider_connect_rederive;"
        );
        tx.execute(AssertSqlSafe(sql)).await.map(drop)
    };
    if is_fresh {
        triggers(&mut tx, "disable").await?;
    }
    quotes(live, &mut tx).await.context("copying pay.quote")?;
    providers(live, &mut tx).await.context("copying acc.provider_connect")?;
    if is_fresh {
        triggers(&mut tx, "enable").await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn quotes(live: &mut PgConnection, tx: &mut PgConnection) -> anyhow::Result<()> {
    let columns: Vec<String> = sqlx::query_scalar(
        "select quote_ident(column_name) from information_schema.columns
         where table_schema = 'pay' and table_name = 'quote' order by ordinal_position",
    )
    .fetch_all(&mut *live)
    .await?;
    let all = columns.join(", ");
    let of = |table: &str| -> String {
        let columns: Vec<String> = columns.iter().map(|name| format!("{table}.{name}")).collect();
        columns.join(", ")
    };
    transfer(live, tx, "pay.quote", &all).await?;
    let (old, new) = (of("q"), of("excluded"));
    let merge = format!(
        "delete from pay.quote as q
           where not exists (select from copied as n where n.quote_id = q.quote_id);
         insert into pay.quote as q ({all}) select {all} from copied order by quote_id
           on conflict (quote_id) do update set ({all}) = ({new})
           where ({old}) is distinct from ({new});
         drop table copied;"
    );
    tx.execute(AssertSqlSafe(merge)).await?;
    Ok(())
}

/// Only who owns which account; status and requirements are what the records say.
async fn providers(live: &mut PgConnection, tx: &mut PgConnection) -> anyhow::Result<()> {
    transfer(live, tx, "acc.provider_connect", "user_id, stripe_acct").await?;
    let merge = format!(
        "delete from acc.provider_connect as p
           where not exists (select from copied as n where n.user_id = p.user_id);
         insert into acc.provider_connect as p (user_id, stripe_acct, status, requirements)
           select user_id, stripe_acct, 'pending', '{UNSAID}' from copied order by user_id
           on conflict (user_id) do update
           set stripe_acct = excluded.stripe_acct, status = 'pending', requirements = '{UNSAID}'
           where p.stripe_acct <> excluded.stripe_acct;
         drop table copied;"
    );
    tx.execute(AssertSqlSafe(merge)).await?;
    Ok(())
}

/// Copies columns of a table into the temporary table `copied`, as a stream.
async fn transfer(
    live: &mut PgConnection,
    tx: &mut PgConnection,
    table: &str,
    columns: &str,
) -> anyhow::Result<()> {
    let sql = format!("create temp table copied as select {columns} from {table} with no data");
    tx.execute(AssertSqlSafe(sql)).await?;
    let out = format!("copy (select {columns} from {table}) to stdout (format binary)");
    let mut rows = live.copy_out_raw(&out).await?;
    let mut copy =
        tx.copy_in_raw(&format!("copy copied ({columns}) from stdin (format binary)")).await?;
    while let Some(bytes) = rows.try_next().await? {
        copy.send(bytes).await?;
    }
    copy.finish().await?;
    Ok(())
}

/// At the end: takes over what no record says. Decisions about quarantine are this operation's in the
/// rebuilt database, with the reasons that people gave.
pub(super) async fn complete(
    live: &mut PgConnection,
    rebuilt: &mut PgConnection,
    operation: i64,
) -> anyhow::Result<()> {
    statuses(live, rebuilt)
        .await
        .context("taking over the statuses of accounts without records")?;
    evidence(live, rebuilt).await.context("taking over pay.dispute.evidence_s3")?;
    decisions(live, rebuilt, operation).await.context("taking over what was discarded")
}

async fn statuses(live: &mut PgConnection, rebuilt: &mut PgConnection) -> anyhow::Result<()> {
    let unsaid: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select user_id from acc.provider_connect where requirements = '{UNSAID}'"
    )))
    .fetch_all(&mut *rebuilt)
    .await?;
    for page in unsaid.chunks(PAGE) {
        let rows: Vec<(String, String, Value)> = sqlx::query_as(
            "select user_id, status, requirements from acc.provider_connect
             where user_id = any($1)",
        )
        .bind(page)
        .fetch_all(&mut *live)
        .await?;
        sqlx::query(
            "update acc.provider_connect as p
             set status = n.status, requirements = n.requirements, updated_at = now()
             from unnest($1::text[], $2::text[], $3::jsonb[]) as n(user_id, status, requirements)
             where p.user_id = n.user_id",
        )
        .bind(rows.iter().map(|row| row.0.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.1.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.2.clone()).collect::<Vec<_>>())
        .execute(&mut *rebuilt)
        .await?;
    }
    Ok(())
}

async fn evidence(live: &mut PgConnection, rebuilt: &mut PgConnection) -> anyhow::Result<()> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select dispute_id, evidence_s3 from pay.dispute where evidence_s3 is not null",
    )
    .fetch_all(live)
    .await?;
    for page in rows.chunks(PAGE) {
        sqlx::query(
            "update pay.dispute as d set evidence_s3 = n.evidence_s3
             from unnest($1::text[], $2::text[]) as n(dispute_id, evidence_s3)
             where d.dispute_id = n.dispute_id
               and d.evidence_s3 is distinct from n.evidence_s3",
        )
        .bind(page.iter().map(|row| row.0.as_str()).collect::<Vec<_>>())
        .bind(page.iter().map(|row| row.1.as_str()).collect::<Vec<_>>())
        .execute(&mut *rebuilt)
        .await?;
    }
    Ok(())
}

/// Of an event that came several times, the record that is in quarantine here may be another one.
async fn decisions(
    live: &mut PgConnection,
    rebuilt: &mut PgConnection,
    operation: i64,
) -> anyhow::Result<()> {
    let rows = sqlx::query(
        "select cluster, topic_id, partition, kafka_offset, event_id, note from pay.quarantine
         where state = 'discarded'",
    )
    .fetch_all(live)
    .await?;
    for page in rows.chunks(PAGE) {
        let text = |name: &'static str| -> sqlx::Result<Vec<Option<String>>> {
            page.iter().map(|row| row.try_get(name)).collect()
        };
        let (partitions, offsets) = (
            page.iter().map(|row| row.try_get("partition")).collect::<sqlx::Result<Vec<i32>>>()?,
            page.iter()
                .map(|row| row.try_get("kafka_offset"))
                .collect::<sqlx::Result<Vec<i64>>>()?,
        );
        sqlx::query(
            "update pay.quarantine as q
             set state = 'discarded', resolved_at = now(), resolved_by = $7, note = n.note
             from unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::text[], $6::text[])
               as n(cluster, topic_id, partition, kafka_offset, event_id, note)
             where q.state = 'open'
               and (q.event_id = n.event_id or (q.cluster = n.cluster
                 and q.topic_id = n.topic_id and q.partition = n.partition
                 and q.kafka_offset = n.kafka_offset))",
        )
        .bind(text("cluster")?)
        .bind(text("topic_id")?)
        .bind(partitions)
        .bind(offsets)
        .bind(text("event_id")?)
        .bind(text("note")?)
        .bind(operation)
        .execute(&mut *rebuilt)
        .await?;
    }
    Ok(())
}
