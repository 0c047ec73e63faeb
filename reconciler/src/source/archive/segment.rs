//! A stored segment, read and held against its manifest.

use std::io::{BufRead, BufReader, Read as _};

use domain::archive::{Listed, Manifest, Sha256Hash, decode};
use domain::record::RawRecord;
use sha2::{Digest as _, Sha256};

use super::damage::Problem;

/// The records of a segment: all of them, or what is wrong. The manifest's size bounds what is
/// decompressed, so a segment that is not what it lists cannot fill the memory.
pub(super) fn records(stored: &[u8], manifest: &Manifest) -> Result<Vec<RawRecord>, Problem> {
    let unreadable = |error: std::io::Error| Problem::Compression(error.to_string());
    let decoder = zstd::Decoder::with_buffer(stored).map_err(unreadable)?;
    let mut lines = BufReader::new(decoder.take(manifest.bytes as u64 + 1));
    let mut records = Vec::with_capacity(manifest.records.len());
    let mut line = Vec::new();
    for listed in &manifest.records {
        line.clear();
        if lines.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            return Err(count("fewer", manifest));
        }
        records.push(record(&line, listed, manifest.partition)?);
    }
    match lines.read_until(b'\n', &mut line).map_err(unreadable)? {
        0 => Ok(records),
        _ => Err(count("more", manifest)),
    }
}

/// The record of one line, which must be the listed one.
fn record(line: &[u8], listed: &Listed, partition: i32) -> Result<RawRecord, Problem> {
    let offset = listed.offset;
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let found = Sha256Hash(Sha256::digest(line).into());
    if found != listed.sha256 {
        return Err(Problem::Altered { offset, listed: listed.sha256, found });
    }
    let record = decode(line).map_err(|error| Problem::Line { offset, error })?;
    if (record.partition, record.offset) != (partition, offset) {
        return Err(Problem::Misplaced(offset));
    }
    Ok(record)
}

fn count(than: &'static str, manifest: &Manifest) -> Problem {
    Problem::Count { than, listed: manifest.records.len() }
}
