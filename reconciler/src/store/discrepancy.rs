//! `pay.discrepancy`: what needs a person, each disagreement once.

use domain::row::Discrepancy;
use sqlx::PgConnection;

use super::column;

/// Notes what holds and resolves what no longer does. One that was resolved and holds again begins
/// anew.
pub(super) async fn write(tx: &mut PgConnection, checked: &[Discrepancy]) -> sqlx::Result<()> {
    let mut checked: Vec<&Discrepancy> = checked.iter().collect();
    checked.sort();
    checked.dedup();
    let (holding, gone): (Vec<&Discrepancy>, Vec<&Discrepancy>) =
        checked.into_iter().partition(|discrepancy| discrepancy.disagreement.is_some());
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
        .bind(column(&holding, |row| row.disagreement.as_ref().map(|(ours, _)| ours.as_str())))
        .bind(column(&holding, |row| row.disagreement.as_ref().map(|(_, theirs)| theirs.as_str())))
        .execute(&mut *tx)
        .await?;
    }
    if !gone.is_empty() {
        sqlx::query(
            "update pay.discrepancy as d set resolved_at = now()
             from unnest($1::text[], $2::text[], $3::text[]) as n(kind, account, object_id)
             where (d.kind, d.account, d.object_id) = (n.kind, n.account, n.object_id)
               and d.resolved_at is null",
        )
        .bind(column(&gone, |row| row.kind))
        .bind(column(&gone, |row| row.account.as_str()))
        .bind(column(&gone, |row| row.object_id.as_str()))
        .execute(tx)
        .await?;
    }
    Ok(())
}
