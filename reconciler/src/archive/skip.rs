//! Going on over records that are lost: what is missing, and why, becomes part of the chain.

use domain::archive::{Hole, Manifest};

use super::ROLE;
use super::upload::Writer;
use crate::fault::{Fault, persist};
use crate::position::Position;
use crate::s3::ObjectStore;

/// Where a partition's archive ends, for a person to decide what is to be done about it.
#[derive(Debug)]
pub(crate) struct End {
    /// By the role's position.
    pub(crate) remembered: Option<Position>,
    /// After the newest manifest.
    pub(crate) written: Option<Position>,
    /// A segment behind it that only S3 still has, and that has no manifest yet.
    pub(crate) orphan: Option<String>,
}

impl End {
    /// Where it goes on.
    pub(crate) fn at(&self) -> Option<Position> {
        [self.remembered, self.written].into_iter().flatten().max_by_key(|it| it.next_offset)
    }
}

impl<S: ObjectStore> Writer<S> {
    /// Looks, and changes nothing. `low` is the log's first offset.
    pub(crate) async fn end(&self, partition: i32, low: i64) -> Result<End, Fault> {
        let stored = persist(ROLE, || self.to.positions.load()).await?;
        let remembered = stored.get(&partition).copied();
        let mut end = End { remembered, written: self.written(partition).await?, orphan: None };
        end.orphan = self.orphan(partition, end.at(), low).await?.map(|(_, key)| key);
        Ok(end)
    }

    /// Records that the records from `at` up to `to` are lost, first in the archive and then as the
    /// role's position. Comes back with the manifest's key and the manifest.
    pub(crate) async fn skip(
        &self,
        partition: i32,
        at: Position,
        to: i64,
        hole: Hole,
    ) -> Result<(String, Manifest), Fault> {
        let ends = (at.next_offset, to - 1);
        let manifest = Manifest::of_hole(ends, hole, self.topic(), partition, at.chain);
        self.put_manifest(&manifest).await?;
        self.remember(partition, Position::after(&manifest)).await?;
        let key = self.to.place.manifest_key(partition, manifest.first_offset);
        Ok((key, manifest))
    }

    /// Moves the role's position after what S3 holds.
    pub(crate) async fn remember(&self, partition: i32, at: Position) -> Result<(), Fault> {
        persist(ROLE, || self.to.positions.store(partition, at)).await
    }
}
