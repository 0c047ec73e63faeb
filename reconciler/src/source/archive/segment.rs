//! A stored segment, read and held against its manifest.

use std::io::{BufRead, BufReader, Read as _};

use domain::archive::{Checked, Entry, Manifest, Place, SegmentCheck};
use domain::record::RawRecord;

/// What a line may be longer by where its record was erased.
const TOMBSTONE_BYTES: u64 = 512;

/// Decompresses a segment, holds it against its manifest line by line, and hands on each line that is
/// as listed, and what it holds. The manifest's size bounds what is decompressed, so a segment that is not what it
/// lists cannot fill the memory.
pub(crate) fn check(
    stored: &[u8],
    place: &Place,
    manifest: &Manifest,
    mut each: impl FnMut(&[u8], Entry),
) -> Checked {
    let mut check = SegmentCheck::new(place, manifest);
    let decoder = match zstd::Decoder::with_buffer(stored) {
        Ok(decoder) => decoder,
        Err(error) => return check.broken(error.to_string()),
    };
    let tombstones = TOMBSTONE_BYTES * manifest.records.len() as u64;
    let mut lines = BufReader::new(decoder.take(manifest.bytes as u64 + tombstones + 1));
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.read_until(b'\n', &mut line) {
            Ok(0) => return check.end(),
            Ok(_) => check.line(&line).into_iter().for_each(|entry| each(&line, entry)),
            Err(error) => return check.broken(error.to_string()),
        }
    }
}

/// The records of a segment and how many are erased; or what is wrong with it.
pub(super) fn records(
    stored: &[u8],
    place: &Place,
    manifest: &Manifest,
) -> (Vec<RawRecord>, Checked) {
    let mut records = Vec::with_capacity(manifest.records.len());
    let checked = check(stored, place, manifest, |_, entry| records.extend(entry.record()));
    (records, checked)
}
