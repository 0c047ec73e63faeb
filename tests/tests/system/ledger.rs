//! The ledger in the database: zero-sum and append-only, whoever writes.

use sqlx::PgPool;

use crate::projection::Scratch;

const ENTRY: &str = "insert into pay.ledger_entry (account, subject_id, subject_kind, currency,
    effective_at) values ('', 'pi_1', 'capture', 'USD', now())";

/// What the database says to these statements in one transaction.
async fn refusal(pool: &PgPool, statements: &[&str]) -> Option<String> {
    let mut tx = pool.begin().await.unwrap();
    for statement in statements {
        let sql = sqlx::AssertSqlSafe((*statement).to_owned());
        if let Err(error) = sqlx::raw_sql(sql).execute(&mut *tx).await {
            return Some(error.to_string());
        }
    }
    tx.commit().await.err().map(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_what_does_not_add_up_and_every_change() {
    let scratch = Scratch::new("ledger").await;
    let posting = |account: &str, amount: i64| {
        format!(
            "insert into pay.ledger_posting (entry_id, ledger_account, amount_cents)
             select max(entry_id), '{account}', {amount} from pay.ledger_entry"
        )
    };
    let (debit, credit) = (posting("stripe_clearing", 100), posting("unallocated", -100));
    let short = posting("unallocated", -99);
    let refused = async |statements: &[&str], because: &str| {
        let refusal = refusal(&scratch.pool, statements).await;
        let said = refusal.as_deref().unwrap_or("accepted");
        assert!(said.contains(because), "{statements:?}: {said}");
    };
    refused(&[ENTRY, &debit, &short], "does not add up to zero").await;
    refused(&[ENTRY], "no postings").await;
    refused(&[ENTRY, &posting("stripe_clearing", 0)], "check").await;
    refused(&[ENTRY, &posting("petty_cash", 1)], "check").await;
    assert_eq!(refusal(&scratch.pool, &[ENTRY, &debit, &credit]).await, None);

    // Nor does anything slip in behind a check that was asked for early, or under another's name.
    let early = "set constraints all immediate";
    refused(&[ENTRY, &debit, &credit, early, &posting("bank", 9)], "does not add up").await;
    let forged = ENTRY.replace("effective_at)", "effective_at, transaction_id)");
    let forged = forged.replace("now())", "now(), '3')");
    assert_eq!(refusal(&scratch.pool, &[&forged, &debit, &credit]).await, None, "it is stamped");

    // A pair that adds up is refused too, once its entry is there.
    let (more, less) = (posting("bank", 5), posting("revenue", -5));
    refused(&[&more, &less], "belongs into the transaction of its entry").await;
    let changes = [("pay.ledger_entry", "currency = 'EUR'"), ("pay.ledger_posting", "party = 'x'")];
    for (table, change) in changes {
        refused(&[&format!("delete from {table}")], "append-only").await;
        refused(&[&format!("truncate {table} cascade")], "append-only").await;
        refused(&[&format!("update {table} set {change}")], "append-only").await;
    }
    scratch.drop().await;
}
