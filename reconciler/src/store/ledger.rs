//! `pay.ledger_entry` and `pay.ledger_posting`: from what is posted to what must be.

use std::collections::{BTreeMap, BTreeSet};

use domain::ledger::{Account, Balances, Entry, Line, Subject, SubjectKind, Target, entries};
use domain::object::ObjectKey;
use sqlx::{PgConnection, Row as _};

use super::column;

/// Writes the entries that bring each subject to its target, and those of these objects without a
/// target to nothing. Who calls holds the locks of what the subjects belong to, so nobody else posts
/// to them.
pub(super) async fn write(
    tx: &mut PgConnection,
    targets: &[Target],
    objects: &[&ObjectKey],
) -> sqlx::Result<()> {
    let posted = posted(tx, &concerned(targets, objects)).await?;
    let nothing = Balances::new();
    let entries: Vec<Entry> = aims(targets, objects, posted.keys())
        .values()
        .flat_map(|target| entries(target, posted.get(&target.subject).unwrap_or(&nothing)))
        .collect();
    insert(tx, &entries).await
}

/// Account and id of everything that these targets and objects may have postings of.
pub(super) fn concerned(targets: &[Target], objects: &[&ObjectKey]) -> BTreeSet<(String, String)> {
    let subjects = targets.iter().map(|target| (&target.subject.account, &target.subject.id));
    let ids = subjects.chain(objects.iter().map(|key| (&key.account, &key.id)));
    ids.map(|(account, id)| (account.clone(), id.clone())).collect()
}

/// What every subject must add up to: its target; and nothing where one of these objects is posted
/// and has none, for an earlier view may have posted it.
pub(super) fn aims<'a>(
    targets: &[Target],
    objects: &[&ObjectKey],
    posted: impl Iterator<Item = &'a Subject>,
) -> BTreeMap<Subject, Target> {
    let newest = targets.iter().map(|target| target.as_of).max().unwrap_or_default();
    let mut aims: BTreeMap<Subject, Target> =
        targets.iter().map(|target| (target.subject.clone(), target.clone())).collect();
    let objects: BTreeSet<(&String, &String)> =
        objects.iter().map(|key| (&key.account, &key.id)).collect();
    for subject in posted.filter(|it| objects.contains(&(&it.account, &it.id))) {
        aims.entry(subject.clone()).or_insert_with_key(|it| Target::nothing(it.clone(), newest));
    }
    aims
}

/// What the postings of every subject with one of these accounts and ids add up to.
pub(super) async fn posted(
    tx: &mut PgConnection,
    ids: &BTreeSet<(String, String)>,
) -> sqlx::Result<BTreeMap<Subject, Balances>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query(
        "select e.account, e.subject_id, e.subject_kind, e.currency, p.ledger_account, p.party,
           sum(p.amount_cents)::bigint as amount_cents
         from unnest($1::text[], $2::text[]) as n(account, subject_id)
         join pay.ledger_entry as e using (account, subject_id)
         join pay.ledger_posting as p using (entry_id)
         group by 1, 2, 3, 4, 5, 6 having sum(p.amount_cents) <> 0",
    )
    .bind(column(ids, |(account, _)| account.as_str()))
    .bind(column(ids, |(_, id)| id.as_str()))
    .fetch_all(tx)
    .await?;
    let mut posted: BTreeMap<Subject, Balances> = BTreeMap::new();
    for row in &rows {
        let (account, kind): (&str, &str) =
            (row.try_get("ledger_account")?, row.try_get("subject_kind")?);
        let account = Account::ALL.into_iter().find(|known| known.as_str() == account);
        let (Some(account), Some(kind)) = (account, SubjectKind::find(kind)) else {
            return Err(sqlx::Error::Decode(
                "a posting of a kind this program does not know".into(),
            ));
        };
        let (owner, id): (String, String) = (row.try_get("account")?, row.try_get("subject_id")?);
        let line = Line {
            currency: row.try_get("currency")?,
            account: account.as_str(),
            party: row.try_get("party")?,
        };
        let subject = Subject::new(kind, &owner, &id);
        posted.entry(subject).or_default().insert(line, row.try_get("amount_cents")?);
    }
    Ok(posted)
}

/// Entries with their postings, in one statement: neither is there without the other.
async fn insert(tx: &mut PgConnection, entries: &[Entry]) -> sqlx::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let postings: Vec<(usize, &(&'static str, String, i64))> = entries
        .iter()
        .enumerate()
        .flat_map(|(number, entry)| entry.postings.iter().map(move |posting| (number, posting)))
        .collect();
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    // The n-th entry gets the n-th of the ids that are drawn first, so that its postings find it.
    sqlx::query(
        "with drawn as (
           select n, nextval(pg_get_serial_sequence('pay.ledger_entry', 'entry_id')) as entry_id
           from generate_series(0, $1::bigint - 1) as n),
         entry as (
           insert into pay.ledger_entry (entry_id, account, subject_id, subject_kind, currency,
             effective_at)
           overriding system value
           select d.entry_id, e.account, e.subject_id, e.subject_kind, e.currency,
             to_timestamp(e.effective_at)
           from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
             with ordinality as e(account, subject_id, subject_kind, currency, effective_at, place)
           join drawn as d on d.n = e.place - 1
           order by d.entry_id)
         insert into pay.ledger_posting (entry_id, ledger_account, party, amount_cents)
         select d.entry_id, p.ledger_account, p.party, p.amount_cents
         from unnest($7::bigint[], $8::text[], $9::text[], $10::bigint[])
           as p(n, ledger_account, party, amount_cents)
         join drawn as d using (n)",
    )
    .bind(number(entries.len()))
    .bind(column(entries, |entry| entry.subject.account.as_str()))
    .bind(column(entries, |entry| entry.subject.id.as_str()))
    .bind(column(entries, |entry| entry.subject.kind.as_str()))
    .bind(column(entries, |entry| entry.currency.as_str()))
    .bind(column(entries, |entry| entry.effective_at))
    .bind(column(&postings, |(entry, _)| number(*entry)))
    .bind(column(&postings, |(_, (account, ..))| *account))
    .bind(column(&postings, |(_, (_, party, _))| party.as_str()))
    .bind(column(&postings, |(_, (.., amount))| *amount))
    .execute(tx)
    .await
    .map(drop)
}
