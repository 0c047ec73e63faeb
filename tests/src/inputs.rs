//! What others write into the database: quotes, and which provider owns which connected account.

use lifecycles::{Lifecycle, Quote};
use sqlx::PgPool;
use std::collections::BTreeMap;

/// Writes the quotes and links of these lifecycles. What is there already stays.
pub async fn write(pool: &PgPool, lives: &[Lifecycle]) -> anyhow::Result<()> {
    let quotes: Vec<&Quote> = lives.iter().flat_map(|life| &life.quotes).collect();
    let text = |of: fn(&Quote) -> &str| quotes.iter().map(|it| of(it)).collect::<Vec<_>>();
    let cents = |of: fn(&Quote) -> i64| quotes.iter().map(|it| of(it)).collect::<Vec<_>>();
    sqlx::query(
        "insert into pay.quote (quote_id, order_id, buyer_id, provider_id, role_code, currency,
           subtotal_cents, platform_fee_cents, tax_cents, deposit_cents, total_cents,
           policy_snapshot)
         select n.*, '{}' from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
           $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[]) as n
         on conflict do nothing",
    )
    .bind(text(|quote| &quote.quote_id))
    .bind(quotes.iter().map(|quote| quote.order_id.as_deref()).collect::<Vec<_>>())
    .bind(text(|quote| &quote.buyer_id))
    .bind(text(|quote| &quote.provider_id))
    .bind(text(|quote| &quote.role_code))
    .bind(text(|quote| &quote.currency))
    .bind(cents(|quote| quote.subtotal))
    .bind(cents(|quote| quote.platform_fee))
    .bind(cents(|quote| quote.tax))
    .bind(cents(|quote| quote.deposit))
    .bind(cents(|quote| quote.total))
    .execute(pool)
    .await?;
    let (accounts, users): (Vec<&str>, Vec<&str>) = links(lives).into_iter().unzip();
    sqlx::query(
        "insert into acc.provider_connect (user_id, stripe_acct, status)
         select user_id, stripe_acct, 'pending'
         from unnest($1::text[], $2::text[]) as n(user_id, stripe_acct) on conflict do nothing",
    )
    .bind(users)
    .bind(accounts)
    .execute(pool)
    .await?;
    Ok(())
}

/// The links of these lifecycles: connected account and provider.
pub fn links(lives: &[Lifecycle]) -> BTreeMap<&str, &str> {
    let links = lives.iter().flat_map(|life| &life.providers);
    links.map(|(user, account)| (account.as_str(), user.as_str())).collect()
}
