//! What others write into the database: quotes, and which provider owns which connected account.

use lifecycles::Lifecycle;
use sqlx::PgPool;
use std::collections::BTreeMap;

/// Writes the quotes and links of these lifecycles. What is there already stays.
pub async fn write(pool: &PgPool, lives: &[Lifecycle]) -> anyhow::Result<()> {
    for quote in lives.iter().flat_map(|life| &life.quotes) {
        sqlx::query(
            "insert into pay.quote (quote_id, order_id, buyer_id, provider_id, role_code, currency,
               subtotal_cents, platform_fee_cents, tax_cents, deposit_cents, total_cents,
               policy_snapshot)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '{}') on conflict do nothing",
        )
        .bind(&quote.quote_id)
        .bind(&quote.order_id)
        .bind(&quote.buyer_id)
        .bind(&quote.provider_id)
        .bind(&quote.role_code)
        .bind(&quote.currency)
        .bind(quote.subtotal)
        .bind(quote.platform_fee)
        .bind(quote.tax)
        .bind(quote.deposit)
        .bind(quote.total)
        .execute(pool)
        .await?;
    }
    for (account, user) in links(lives) {
        sqlx::query(
            "insert into acc.provider_connect (user_id, stripe_acct, status)
             values ($1, $2, 'pending') on conflict do nothing",
        )
        .bind(user)
        .bind(account)
        .execute(pool)
        .await?;
    }
    Ok(())
}

/// The links of these lifecycles: connected account and provider.
pub fn links(lives: &[Lifecycle]) -> BTreeMap<&str, &str> {
    let links = lives.iter().flat_map(|life| &life.providers);
    links.map(|(user, account)| (account.as_str(), user.as_str())).collect()
}
