//! `pay.discrepancy`: what needs a person, each disagreement once.

use domain::object::ObjectKey;
use domain::quote::Misfit;
use domain::row::Discrepancy;
use sqlx::PgConnection;

use super::column;

/// Notes what holds of these objects and resolves what no longer does. One that was resolved and
/// holds again begins anew.
pub(super) async fn write(
    tx: &mut PgConnection,
    holding: &[Discrepancy],
    objects: &[&ObjectKey],
) -> sqlx::Result<()> {
    let mut holding: Vec<&Discrepancy> = holding.iter().collect();
    holding.sort();
    if !holding.is_empty() {
        sqlx::query(
            "insert into pay.discrepancy as d (kind, account, object_id, ours, theirs)
             select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
               as n(kind, account, object_id, ours, theirs)
             order by kind collate \"C\", account collate \"C\", object_id collate \"C\"
             on conflict (kind, account, object_id) do update
             set ours = excluded.ours, theirs = excluded.theirs, last_seen = now(),
               first_seen = case when d.resolved_at is null then d.first_seen else now() end,
               resolved_at = null
             where d.resolved_at is not null
               or (d.ours, d.theirs) is distinct from (excluded.ours, excluded.theirs)",
        )
        .bind(column(&holding, |row| row.kind))
        .bind(column(&holding, |row| row.account.as_str()))
        .bind(column(&holding, |row| row.object_id.as_str()))
        .bind(column(&holding, |row| row.ours.as_str()))
        .bind(column(&holding, |row| row.theirs.as_str()))
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query(
        "update pay.discrepancy as d set resolved_at = now()
         from unnest($1::text[], $2::text[]) as n(account, object_id)
         where (d.account, d.object_id) = (n.account, n.object_id)
           and d.resolved_at is null and d.kind = any($3)
           and not exists (
             select from unnest($4::text[], $5::text[], $6::text[]) as h(kind, account, object_id)
             where (h.kind, h.account, h.object_id) = (d.kind, d.account, d.object_id))",
    )
    .bind(column(objects, |key| key.account.as_str()))
    .bind(column(objects, |key| key.id.as_str()))
    .bind(Misfit::ALL.map(Misfit::as_str))
    .bind(column(&holding, |row| row.kind))
    .bind(column(&holding, |row| row.account.as_str()))
    .bind(column(&holding, |row| row.object_id.as_str()))
    .execute(tx)
    .await
    .map(drop)
}
