//! How far a role has read: `pay.position`. Kafka's own commits are for display only.

use std::collections::BTreeMap;

use domain::archive::{Manifest, Place, Sha256Hash};
use kafka::topic::Topic;
use sqlx::{PgConnection, PgPool, Row as _};

use crate::database;
use crate::fault::Fault;

/// A role's place in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// First offset that is not yet dealt with.
    pub next_offset: i64,
    /// Archive only: list hash of the last manifest.
    pub chain: Option<Sha256Hash>,
}

impl Position {
    /// The archive's place once this manifest is in S3.
    pub(crate) fn after(manifest: &Manifest) -> Self {
        Self { next_offset: manifest.next_offset(), chain: Some(manifest.list_hash) }
    }
}

/// The positions of one role on one topic.
#[derive(Debug, Clone)]
pub(crate) struct Positions {
    pool: PgPool,
    role: &'static str,
    cluster: String,
    topic_id: String,
}

impl Positions {
    /// `role` is `project` or `archive`.
    pub(crate) fn new(pool: PgPool, role: &'static str, topic: &Topic) -> Self {
        let (cluster, topic_id) = (topic.cluster_id.clone(), topic.topic_id.clone());
        Self { pool, role, cluster, topic_id }
    }

    /// Those on the topic whose archive lies there.
    pub(crate) fn at(pool: PgPool, role: &'static str, place: &Place) -> Self {
        let (cluster, topic_id) = (place.cluster.clone(), place.topic_id.clone());
        Self { pool, role, cluster, topic_id }
    }

    /// The stored positions. A partition that was never read is absent.
    pub(crate) async fn load(&self) -> Result<BTreeMap<i32, Position>, Fault> {
        let doing = "loading positions";
        let mut connection = database::acquire(&self.pool).await?;
        let query = sqlx::query(
            "select partition, next_offset, chain from pay.position
             where role = $1 and cluster = $2 and topic_id = $3",
        )
        .bind(self.role)
        .bind(&self.cluster)
        .bind(&self.topic_id);
        let rows = database::within(query.fetch_all(&mut *connection)).await;
        let rows = database::settle(connection, doing, rows).await?;
        rows.iter()
            .map(|row| {
                let chain: Option<Vec<u8>> = row.try_get("chain")?;
                let chain = chain
                    .map(|bytes| bytes.try_into().map(Sha256Hash))
                    .transpose()
                    .map_err(|_| sqlx::Error::Decode("pay.position.chain is not a hash".into()))?;
                let next_offset = row.try_get("next_offset")?;
                Ok((row.try_get("partition")?, Position { next_offset, chain }))
            })
            .collect::<sqlx::Result<_>>()
            .map_err(|error| Fault::postgres(doing, error))
    }

    /// Moves one partition forward, in the caller's transaction if it has one. A position never
    /// falls: a slower process changes nothing.
    pub(crate) async fn advance(
        &self,
        connection: &mut PgConnection,
        partition: i32,
        to: Position,
    ) -> sqlx::Result<()> {
        sqlx::query(
            "insert into pay.position as p
               (role, cluster, topic_id, partition, next_offset, chain)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (role, cluster, topic_id, partition) do update
             set next_offset = excluded.next_offset, chain = excluded.chain, updated_at = now()
             where p.next_offset < excluded.next_offset",
        )
        .bind(self.role)
        .bind(&self.cluster)
        .bind(&self.topic_id)
        .bind(partition)
        .bind(to.next_offset)
        .bind(to.chain.map(|hash| hash.0.to_vec()))
        .execute(connection)
        .await
        .map(drop)
    }

    /// [`advance`](Self::advance), on its own.
    pub(crate) async fn store(&self, partition: i32, to: Position) -> Result<(), Fault> {
        let mut connection = database::acquire(&self.pool).await?;
        let stored = database::within(self.advance(&mut connection, partition, to)).await;
        database::settle(connection, "storing a position", stored).await
    }
}
