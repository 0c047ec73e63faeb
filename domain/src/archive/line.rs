//! One record as one line of JSON, and back, byte for byte.
//!
//! Text stays readable: what is UTF-8 is a JSON string. What is not goes, as base64, into a field
//! beside it (`key_base64`, `body_base64`) or into a third element of a header, and the readable
//! one is null. Null alone is Kafka's null.
//!
//! A record that was erased leaves a tombstone in its line's place: the same fields, empty but for
//! the record's place and time, and in `erased` the SHA-256 of the line that was there.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Sha256Hash;
use crate::record::RawRecord;

/// What a line holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Name of the topic.
    pub topic: String,
    /// The record, or what is left of it.
    pub entry: Entry,
}

/// A record of the archive, or what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The record as Kafka had it.
    Record(RawRecord),
    /// It was erased.
    Erased(Tombstone),
}

/// What is left of a record that was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's timestamp, Unix milliseconds.
    pub timestamp_ms: i64,
    /// SHA-256 of the line that was there, as the manifest lists it.
    pub sha256: Sha256Hash,
}

impl Entry {
    /// Partition of the topic.
    pub fn partition(&self) -> i32 {
        match self {
            Self::Record(record) => record.partition,
            Self::Erased(tombstone) => tombstone.partition,
        }
    }

    /// Offset in the partition.
    pub fn offset(&self) -> i64 {
        match self {
            Self::Record(record) => record.offset,
            Self::Erased(tombstone) => tombstone.offset,
        }
    }

    /// The record, unless it is erased.
    pub fn record(self) -> Option<RawRecord> {
        match self {
            Self::Record(record) => Some(record),
            Self::Erased(_) => None,
        }
    }

    /// Kafka's timestamp, Unix milliseconds.
    pub fn timestamp_ms(&self) -> i64 {
        match self {
            Self::Record(record) => record.timestamp_ms,
            Self::Erased(tombstone) => tombstone.timestamp_ms,
        }
    }
}

/// Field order is the order in the file.
#[derive(Serialize, Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    headers: Vec<Vec<Option<String>>>,
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased: Option<Sha256Hash>,
}

/// Why a line is not an archived record. Never quotes the line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The line is not JSON of this shape.
    #[error("not an archived record: {} at column {}", kind(.0), .0.column())]
    Json(#[from] serde_json::Error),
    /// A binary field is not base64.
    #[error("{0} is not base64")]
    Base64(&'static str),
    /// A header is not a name with one value.
    #[error("a header is not [name, value] or [name, null, base64]")]
    Header,
    /// A tombstone that still has a key, headers or a body.
    #[error("it says that it was erased, and was not")]
    HalfErased,
}

fn kind(error: &serde_json::Error) -> &'static str {
    if error.is_data() { "unexpected shape" } else { "broken JSON" }
}

/// Writes `record` as one line with its newline at the end of `out`.
pub fn encode(topic: &str, record: &RawRecord, out: &mut Vec<u8>) {
    let (key, key_base64) = split(record.key.as_ref());
    let (body, body_base64) = split(record.value.as_ref());
    let headers = record
        .headers
        .iter()
        .map(|(name, value)| {
            let (text, binary) = split(value.as_ref());
            let mut header = vec![Some(name.clone()), text];
            header.extend(binary.map(Some));
            header
        })
        .collect();
    write(
        &Fields {
            topic: Cow::Borrowed(topic),
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key,
            key_base64,
            headers,
            body,
            body_base64,
            erased: None,
        },
        out,
    );
}

/// Writes a tombstone as one line with its newline at the end of `out`.
pub fn encode_tombstone(topic: &str, tombstone: &Tombstone, out: &mut Vec<u8>) {
    write(
        &Fields {
            topic: Cow::Borrowed(topic),
            partition: tombstone.partition,
            offset: tombstone.offset,
            timestamp_ms: tombstone.timestamp_ms,
            key: None,
            key_base64: None,
            headers: Vec::new(),
            body: None,
            body_base64: None,
            erased: Some(tombstone.sha256),
        },
        out,
    );
}

fn write(line: &Fields<'_>, out: &mut Vec<u8>) {
    // Strings, numbers and lists into memory: there is nothing in it that can fail.
    let written = serde_json::to_writer(&mut *out, line);
    debug_assert!(written.is_ok());
    out.push(b'\n');
}

/// What a line, with or without its newline, holds.
pub fn decode(line: &[u8]) -> Result<Line, LineError> {
    let line: Fields<'_> = serde_json::from_slice(line)?;
    let topic = line.topic.into_owned();
    let (partition, offset, timestamp_ms) = (line.partition, line.offset, line.timestamp_ms);
    if let Some(sha256) = line.erased {
        let texts = [&line.key, &line.key_base64, &line.body, &line.body_base64];
        if !line.headers.is_empty() || texts.iter().any(|text| text.is_some()) {
            return Err(LineError::HalfErased);
        }
        let tombstone = Tombstone { partition, offset, timestamp_ms, sha256 };
        return Ok(Line { topic, entry: Entry::Erased(tombstone) });
    }
    let headers = line
        .headers
        .into_iter()
        .map(|header| {
            let mut fields = header.into_iter();
            let (Some(Some(name)), Some(text), binary, None) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                return Err(LineError::Header);
            };
            Ok((name, join(text, binary.flatten(), "header")?))
        })
        .collect::<Result<_, _>>()?;
    let record = RawRecord {
        partition,
        offset,
        timestamp_ms,
        key: join(line.key, line.key_base64, "key_base64")?,
        headers,
        value: join(line.body, line.body_base64, "body_base64")?,
    };
    Ok(Line { topic, entry: Entry::Record(record) })
}

/// (as text, as base64): at most one of them is there.
fn split(value: Option<&Bytes>) -> (Option<String>, Option<String>) {
    match value.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => (None, None),
        Some((Ok(text), _)) => (Some(text.to_owned()), None),
        Some((Err(_), bytes)) => (None, Some(STANDARD.encode(bytes))),
    }
}

fn join(
    text: Option<String>,
    binary: Option<String>,
    field: &'static str,
) -> Result<Option<Bytes>, LineError> {
    match binary {
        None => Ok(text.map(Bytes::from)),
        Some(encoded) => STANDARD
            .decode(encoded)
            .map(|bytes| Some(Bytes::from(bytes)))
            .map_err(|_| LineError::Base64(field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> RawRecord {
        RawRecord {
            partition: 1,
            offset: 7,
            timestamp_ms: 1_700_000_000_123,
            key: key.map(Bytes::from_static),
            headers: vec![
                ("a".into(), Some(Bytes::from_static(b"text"))),
                ("a".into(), None),
                ("b".into(), Some(Bytes::from_static(b"\xff\x00"))),
                ("c".into(), Some(Bytes::new())),
            ],
            value: value.map(Bytes::from_static),
        }
    }

    #[test]
    fn every_record_comes_back_byte_for_byte() {
        let bodies: [Option<&'static [u8]>; 6] = [
            None,
            Some(b""),
            Some(b"{\"id\": \"evt_1\",\n  \"x\":1.0}\r\n"),
            Some(b"\xfe\xff not text"),
            Some("null \u{0}\u{2028} \u{1F600} \\u0000".as_bytes()),
            Some(b"bm90IGJhc2U2NA=="),
        ];
        for body in bodies {
            for key in [None, Some(b"pi_1".as_slice()), Some(b"\x80".as_slice())] {
                let record = record(key, body);
                let mut line = Vec::new();
                encode("stripe.raw.v1", &record, &mut line);
                assert_eq!(memchr::memchr(b'\n', &line), Some(line.len() - 1));
                let read = decode(&line).unwrap();
                assert_eq!(read.topic, "stripe.raw.v1");
                assert_eq!(read.entry, Entry::Record(record));
            }
        }
    }

    #[test]
    fn text_stays_readable() {
        let mut line = Vec::new();
        encode("t", &record(Some(b"pi_1"), Some(b"{}")), &mut line);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"topic\":\"t\",\"partition\":1,\"offset\":7,\"timestamp_ms\":1700000000123,\
             \"key\":\"pi_1\",\"headers\":[[\"a\",\"text\"],[\"a\",null],[\"b\",null,\"/wA=\"],\
             [\"c\",\"\"]],\"body\":\"{}\"}\n"
        );
    }

    #[test]
    fn a_tombstone_keeps_place_time_and_hash_and_nothing_else() {
        let sha256 = Sha256Hash([0xab; 32]);
        let tombstone = Tombstone { partition: 1, offset: 7, timestamp_ms: 1_700, sha256 };
        let mut line = Vec::new();
        encode_tombstone("t", &tombstone, &mut line);
        let text = String::from_utf8(line).unwrap();
        let hash = "ab".repeat(32);
        assert_eq!(
            text,
            format!(
                "{{\"topic\":\"t\",\"partition\":1,\"offset\":7,\"timestamp_ms\":1700,\
                 \"key\":null,\"headers\":[],\"body\":null,\"erased\":\"{hash}\"}}\n"
            )
        );
        let read = decode(text.as_bytes()).unwrap();
        assert_eq!(read, Line { topic: "t".into(), entry: Entry::Erased(tombstone) });
        let half = text.replace("\"body\":null", "\"body\":\"{}\"");
        assert!(matches!(decode(half.as_bytes()), Err(LineError::HalfErased)));
    }

    #[test]
    fn what_is_not_a_record_is_an_error() {
        for line in ["", "{}", "[]", "{\"topic\":1}"] {
            assert!(matches!(decode(line.as_bytes()), Err(LineError::Json(_))), "{line}");
        }
        let line = "{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"timestamp_ms\":0,\"key\":null,\
                    \"headers\":[[\"a\"]],\"body\":null}";
        assert!(matches!(decode(line.as_bytes()), Err(LineError::Header)));
    }
}
