//! One partition: its manifests in order, their segments side by side, and what else lies there.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use domain::archive::{
    Begin, Chain, Entry, Finding, Manifest, Pairing, Place, Problem, Proof, Tip, first_offset,
    prove,
};
use domain::endpoint::Endpoints;
use futures::StreamExt as _;
use futures::stream;
use tokio::task::JoinSet;

use super::keys::{Keys, object};
use super::report::{Partition, Report, Signatures};
use crate::fault::{Fault, insist};
use crate::s3::Bucket;
use crate::source::archive::{Archive, check_segment};
use crate::source::filter::Moment;

/// How often S3 is asked for one object: for about two minutes.
const MAX_ATTEMPTS: u32 = 15;

/// What of a partition is to be checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    /// Midnight of the first day.
    pub(super) from: Option<Moment>,
    /// Midnight of the last day.
    pub(super) to: Option<Moment>,
    /// What lies before may be gone.
    pub(super) from_offset: Option<i64>,
    /// What the role archive remembers to have written.
    pub(super) position: Option<Tip>,
    /// First offset of the log.
    pub(super) low: Option<i64>,
}

/// A scope in offsets.
struct Range {
    /// The offset that the first manifest may begin with.
    from: i64,
    /// The offset that manifests of later days begin with.
    to: Option<i64>,
    begin: Begin,
}

/// What every partition is checked with.
pub(super) struct Verifier {
    pub(super) archive: Arc<Archive<Bucket>>,
    pub(super) place: Place,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) tolerance_s: u64,
    pub(super) are_signatures_required: bool,
    /// Segments that are checked at the same time.
    pub(super) segments: usize,
    /// How long a segment may be without its manifest.
    pub(super) grace: Duration,
}

/// What came of one segment.
#[derive(Default)]
struct Segment {
    records: usize,
    erased: usize,
    signatures: Signatures,
    findings: Vec<Finding>,
}

impl Verifier {
    /// Checks a partition. Memory is for the segments that are at work, whatever there is.
    pub(super) async fn verify(
        &self,
        partition: i32,
        scope: Scope,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let mut totals = Partition::new(partition);
        let Some(range) = self.range(partition, scope, report).await? else {
            report.partition(totals);
            return Ok(());
        };
        let mut chain = Chain::new(self.place.clone(), partition, range.begin, scope.position);
        let mut pairing = Pairing::default();
        let mut segments = Keys::new(self.place.segment_prefix(partition), String::new());
        let mut checks: JoinSet<Result<Segment, Fault>> = JoinSet::new();
        let mut manifests = self.manifests(partition, &range).buffered(self.segments).boxed();
        while let Some(read) = manifests.next().await {
            let (key, stored) = read?;
            let Some(stored) = stored else {
                let offset = first_offset(&key);
                report.found([Finding { key, offset, problem: Problem::ManifestGone }]);
                continue;
            };
            let manifest = chain.link(&key, &stored);
            report.found(chain.take_findings());
            self.pair(partition, &range, &mut segments, &mut pairing, report).await?;
            let Some(manifest) = manifest else { continue };
            if let Some(hole) = &manifest.hole {
                totals.holes += 1;
                report.hole(&manifest, hole);
            }
            let Some(segment) = &manifest.segment else { continue };
            pairing.named(segment);
            totals.segments += 1;
            if checks.len() >= self.segments {
                take(checks.join_next().await, &mut totals, report)?;
            }
            checks.spawn(self.clone_for_task().segment(manifest));
        }
        while let Some(check) = checks.join_next().await {
            take(Some(check), &mut totals, report)?;
        }
        while self.pair(partition, &range, &mut segments, &mut pairing, report).await? {}
        chain.end(scope.low.filter(|_| range.to.is_none()));
        report.found(chain.take_findings());
        if let Some((first, is_unchecked)) = chain.head() {
            totals.first_offset = Some(first);
            if is_unchecked {
                report.note(format!(
                    "partition {partition}: what its first manifest, at offset {first}, names as the \
                     one before it was not looked at"
                ));
            }
        }
        totals.next_offset = chain.tip().map(|tip| tip.next_offset);
        for key in pairing.unnamed() {
            self.unnamed(partition, key, chain.tip(), report).await?;
        }
        report.partition(totals);
        Ok(())
    }

    /// Where the manifests of the scope begin and end; `None` if no segment is of these days.
    async fn range(
        &self,
        partition: i32,
        scope: Scope,
        report: &mut Report,
    ) -> Result<Option<Range>, Fault> {
        let to = match scope.to {
            // Behind all of the last day: `0` follows `/`.
            Some(to) => {
                self.first_segment(partition, &format!("{}0", self.day(partition, to))).await?
            }
            None => None,
        };
        if let Some(from) = scope.from_offset {
            let key = self.archive.manifest_of(&self.place, partition, from).await?;
            let first = key.as_deref().and_then(first_offset).unwrap_or_default();
            return Ok(Some(Range { from: first, to, begin: Begin::At(from) }));
        }
        let Some(day) = scope.from else {
            return Ok(Some(Range { from: 0, to, begin: Begin::First }));
        };
        let Some(from) = self.first_segment(partition, &self.day(partition, day)).await? else {
            report.note(format!("partition {partition}: no segment is of these days"));
            return Ok(None);
        };
        let before = match from {
            0 => None,
            _ => self.archive.manifest_of(&self.place, partition, from - 1).await?,
        };
        let Some(key) = before else {
            return Ok(Some(Range { from, to, begin: Begin::First }));
        };
        let stored = self.archive.object(&key).await?.unwrap_or_default();
        let mut chain = Chain::new(self.place.clone(), partition, Begin::Unknown, None);
        chain.link(&key, &stored);
        report.found(chain.take_findings());
        let begin = chain.tip().map_or(Begin::Unknown, Begin::After);
        Ok(Some(Range { from, to, begin }))
    }

    /// What the keys of a day's segments begin with, without a slash at its end.
    fn day(&self, partition: i32, midnight: Moment) -> String {
        let example = self.place.segment_key(partition, 0, midnight.0);
        example.rsplit_once('/').map_or_else(String::new, |(day, _)| day.to_owned())
    }

    /// The first offset of the first segment behind this key.
    async fn first_segment(&self, partition: i32, after: &str) -> Result<Option<i64>, Fault> {
        let keys = self.archive.list(&self.place.segment_prefix(partition), after).await?;
        Ok(keys.first().and_then(|key| first_offset(key)))
    }

    /// The manifests of the range, in order, each to be read.
    fn manifests<'a>(
        &'a self,
        partition: i32,
        range: &Range,
    ) -> impl stream::Stream<
        Item = impl Future<Output = Result<(String, Option<Bytes>), Fault>> + use<'a>,
    > + use<'a> {
        let prefix = self.place.manifest_prefix(partition);
        let after = match range.from {
            0 => String::new(),
            from => self.place.manifest_key(partition, from - 1),
        };
        let keys = Keys::new(prefix, after);
        let to = range.to;
        let keys = stream::unfold(Some(keys), move |keys| async move {
            let mut keys = keys?;
            let key = keys.next(&self.archive).await.transpose()?;
            let offset = key.as_ref().ok().and_then(|key| first_offset(key));
            let is_behind = offset.zip(to).is_some_and(|(offset, to)| offset >= to);
            let rest = key.is_ok().then_some(keys);
            (!is_behind).then_some((key, rest))
        });
        keys.map(move |key| async move {
            let key = key?;
            let stored = self.archive.object(&key).await?;
            Ok((key, stored))
        })
    }

    /// Takes the next segment that the bucket lists; false when there is none.
    async fn pair(
        &self,
        partition: i32,
        range: &Range,
        segments: &mut Keys,
        pairing: &mut Pairing,
        report: &mut Report,
    ) -> Result<bool, Fault> {
        let Some(key) = segments.next(&self.archive).await? else { return Ok(false) };
        match self.place.segment_at(partition, &key) {
            None => report.found([object(key)]),
            Some((_, first)) if first < range.from || range.to.is_some_and(|to| first >= to) => {}
            Some(_) => pairing.stored(key),
        }
        Ok(true)
    }

    /// A segment that no manifest names: its writer is at work, or it should not be there.
    async fn unnamed(
        &self,
        partition: i32,
        key: String,
        tip: Option<Tip>,
        report: &mut Report,
    ) -> Result<(), Fault> {
        let Some(first) = first_offset(&key) else { return Ok(()) };
        let manifest = self.place.manifest_key(partition, first);
        let named = match self.archive.object(&manifest).await? {
            // It cannot be read, which is said already; or it came a moment ago.
            Some(stored) => match Manifest::from_json(&stored) {
                Ok(Manifest { segment: Some(named), .. }) if named != key => Some(named),
                _ => return Ok(()),
            },
            None => None,
        };
        let problem = match named {
            Some(named) => Problem::Doubled(named),
            None => Problem::Unlisted,
        };
        let ask = || self.archive.store().written_at(&key);
        let Some(written_at) = insist("archive", MAX_ATTEMPTS, ask).await? else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_secs(written_at.try_into().unwrap_or(0)));
        let is_next = tip.is_none_or(|tip| first >= tip.next_offset);
        if problem == Problem::Unlisted && is_next && age < self.grace {
            report.note(format!("{key}: its manifest is yet to be written"));
        } else {
            report.found([Finding { key, offset: Some(first), problem }]);
        }
        Ok(())
    }

    fn clone_for_task(&self) -> SegmentTask {
        SegmentTask {
            archive: self.archive.clone(),
            place: self.place.clone(),
            endpoints: self.endpoints.clone(),
            tolerance_s: self.tolerance_s,
            are_signatures_required: self.are_signatures_required,
        }
    }
}

/// What one segment is checked with.
struct SegmentTask {
    archive: Arc<Archive<Bucket>>,
    place: Place,
    endpoints: Arc<Endpoints>,
    tolerance_s: u64,
    are_signatures_required: bool,
}

impl SegmentTask {
    async fn segment(self, manifest: Manifest) -> Result<Segment, Fault> {
        let key = manifest.segment.clone().unwrap_or_default();
        let Some(stored) = self.archive.object(&key).await? else {
            let offset = Some(manifest.first_offset);
            let missing = Finding { key, offset, problem: Problem::SegmentMissing };
            return Ok(Segment { findings: vec![missing], ..Segment::default() });
        };
        tokio::task::spawn_blocking(move || self.check(&stored, &manifest))
            .await
            .map_err(|error| Fault::halt("checking a segment", error))
    }

    fn check(&self, stored: &[u8], manifest: &Manifest) -> Segment {
        let (mut signatures, mut findings) = (Signatures::default(), Vec::new());
        let checked = check_segment(stored, &self.place, manifest, |_, entry| {
            let Entry::Record(record) = entry else { return };
            let proof = prove(&record, &self.endpoints, self.tolerance_s);
            signatures.count(proof);
            let problem = match proof {
                Proof::Refused(refusal) => Problem::Signature(refusal),
                Proof::NoSecret if self.are_signatures_required => Problem::NoSecret,
                _ => return,
            };
            let key = manifest.segment.clone().unwrap_or_default();
            findings.push(Finding { key, offset: Some(record.offset), problem });
        });
        findings.extend(checked.findings);
        Segment { records: checked.records, erased: checked.erased, signatures, findings }
    }
}

fn take(
    check: Option<Result<Result<Segment, Fault>, tokio::task::JoinError>>,
    totals: &mut Partition,
    report: &mut Report,
) -> Result<(), Fault> {
    let Some(check) = check else { return Ok(()) };
    let segment = check.map_err(|error| Fault::halt("checking a segment", error))??;
    totals.records += segment.records;
    totals.erased += segment.erased;
    report.segment(totals, segment.signatures, segment.findings);
    Ok(())
}
