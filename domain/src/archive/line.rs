//! One record as one line of JSON, and back, byte for byte.
//!
//! Text stays readable: what is UTF-8 is a JSON string. What is not goes, as base64, into a field
//! beside it (`key_base64`, `body_base64`) or into a third element of a header, and the readable
//! one is null. Null alone is Kafka's null.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::record::RawRecord;

/// Field order is the order in the file.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
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
    let line = Line {
        topic: Cow::Borrowed(topic),
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key,
        key_base64,
        headers,
        body,
        body_base64,
    };
    // Strings, numbers and lists into memory: there is nothing in it that can fail.
    let written = serde_json::to_writer(&mut *out, &line);
    debug_assert!(written.is_ok());
    out.push(b'\n');
}

/// The record that a line, with or without its newline, holds.
pub fn decode(line: &[u8]) -> Result<RawRecord, LineError> {
    let line: Line<'_> = serde_json::from_slice(line)?;
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
    Ok(RawRecord {
        partition: line.partition,
        offset: line.offset,
        timestamp_ms: line.timestamp_ms,
        key: join(line.key, line.key_base64, "key_base64")?,
        headers,
        value: join(line.body, line.body_base64, "body_base64")?,
    })
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
                assert_eq!(decode(&line).unwrap(), record);
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
    fn what_is_not_a_record_is_an_error() {
        for line in ["", "{}", "[]", "{\"topic\":1}"] {
            assert!(matches!(decode(line.as_bytes()), Err(LineError::Json(_))), "{line}");
        }
        let line = "{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"timestamp_ms\":0,\"key\":null,\
                    \"headers\":[[\"a\"]],\"body\":null}";
        assert!(matches!(decode(line.as_bytes()), Err(LineError::Header)));
    }
}
