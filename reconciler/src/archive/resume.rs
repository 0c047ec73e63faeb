//! Where a partition's archive goes on when its position is gone, as in a database that was made
//! anew: after what S3 holds. Beginning again at the log's first record would start a second chain,
//! and where retention has cut into a stored segment the two would overlap.

use domain::archive::{Manifest, Segment, first_offset};
use futures::future::BoxFuture;

use super::ROLE;
use super::upload::{Writer, parse};
use crate::fault::{Fault, persist};
use crate::feed::Origin;
use crate::position::Position;
use crate::s3::ObjectStore;

/// What is being done when it fails.
const DOING: &str = "finding where the archive ends";

impl<S: ObjectStore> Origin for Writer<S> {
    fn find(&self, partition: i32, low: i64) -> BoxFuture<'_, Result<Option<Position>, Fault>> {
        Box::pin(self.resume(partition, low))
    }
}

impl<S: ObjectStore> Writer<S> {
    /// The place after the newest manifest, or `None` if nothing is archived. `low` is the log's
    /// first offset.
    pub(super) async fn resume(&self, partition: i32, low: i64) -> Result<Option<Position>, Fault> {
        let written = self.written(partition).await?;
        match self.orphan(partition, written, low).await? {
            Some((first, key)) => Ok(Some(self.adopt(partition, written, first, key).await?)),
            None => Ok(written),
        }
    }

    /// The first offset and the key of a segment behind the newest manifest that only S3 still has.
    /// A segment whose writer died before its manifest follows at most one. What the log still has
    /// of it is read again, and compared, before it is adopted.
    pub(super) async fn orphan(
        &self,
        partition: i32,
        written: Option<Position>,
        low: i64,
    ) -> Result<Option<(i64, String)>, Fault> {
        let next = written.map_or(0, |position| position.next_offset);
        let segment = self.segment_from(partition, next).await?;
        Ok(segment.filter(|(first, _)| *first < low && next < low))
    }

    /// The place after the newest manifest.
    pub(super) async fn written(&self, partition: i32) -> Result<Option<Position>, Fault> {
        match self.newest_manifest(partition).await? {
            Some(key) => Ok(Some(self.after(partition, &key).await?)),
            None => Ok(None),
        }
    }

    async fn newest_manifest(&self, partition: i32) -> Result<Option<String>, Fault> {
        let prefix = self.to.place.manifest_prefix(partition);
        let mut newest = None;
        self.each_key(&prefix, |key| newest = Some(key)).await?;
        Ok(newest)
    }

    /// The first segment at or after this offset, and its key.
    async fn segment_from(
        &self,
        partition: i32,
        next: i64,
    ) -> Result<Option<(i64, String)>, Fault> {
        let prefix = self.to.place.segment_prefix(partition);
        let mut found: Option<(i64, String)> = None;
        self.each_key(&prefix, |key| {
            let offset = first_offset(&key).filter(|&offset| offset >= next);
            if let Some(offset) = offset
                && found.as_ref().is_none_or(|(first, _)| offset < *first)
            {
                found = Some((offset, key));
            }
        })
        .await?;
        Ok(found)
    }

    async fn each_key(&self, prefix: &str, mut each: impl FnMut(String)) -> Result<(), Fault> {
        let mut after = String::new();
        loop {
            let keys = persist(ROLE, || self.to.store.list(prefix, &after)).await?;
            let Some(last) = keys.last() else { return Ok(()) };
            last.clone_into(&mut after);
            keys.into_iter().for_each(&mut each);
        }
    }

    /// The place after a manifest that holds, and whose segment, unless it is of a hole, is what it
    /// lists.
    async fn after(&self, partition: i32, key: &str) -> Result<Position, Fault> {
        let halt = |problem: String| Fault::halt(DOING, format!("{key}: {problem}"));
        let stored = persist(ROLE, || self.to.store.read(key)).await?;
        let stored = stored.ok_or_else(|| halt("it was deleted a moment ago".to_owned()))?;
        let manifest = Manifest::from_json(&stored).map_err(|error| halt(error.to_string()))?;
        if self.to.place.manifest_key(partition, manifest.first_offset) != key {
            return Err(halt("it is another segment's".to_owned()));
        }
        if let Some(key) = &manifest.segment
            && self.segment(key).await?.listed() != manifest.records
        {
            return Err(halt(format!("{key} does not hold what it lists")));
        }
        Ok(Position::after(&manifest))
    }

    /// Writes the manifest that a segment lacks.
    async fn adopt(
        &self,
        partition: i32,
        written: Option<Position>,
        first: i64,
        key: String,
    ) -> Result<Position, Fault> {
        let segment = self.segment(&key).await?;
        let previous = written.and_then(|position| position.chain);
        let manifest = Manifest::of(&segment, key.clone(), self.topic(), partition, previous)
            .filter(|manifest| manifest.first_offset == first)
            .ok_or_else(|| Fault::halt(DOING, format!("{key}: it does not begin at {first}")))?;
        self.put_manifest(&manifest).await?;
        tracing::info!(role = ROLE, key, "wrote the manifest that a segment lacked");
        Ok(Position::after(&manifest))
    }

    async fn segment(&self, key: &str) -> Result<Segment, Fault> {
        match persist(ROLE, || self.to.store.read(key)).await? {
            Some(stored) => parse(key, stored).await,
            None => Err(Fault::halt(DOING, format!("{key}: the segment is not there"))),
        }
    }
}

#[cfg(test)]
#[path = "resume_tests.rs"]
mod tests;
