//! Which records of the past a command is about.

use std::fmt;

use clap::Args;
use domain::peek::{Peek, peek};
use domain::record::{RawRecord, header};
use memchr::memmem;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// A choice of records. Without any of it: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Which records")]
pub(crate) struct Filter {
    /// Records that reached Kafka at this time or later: RFC 3339, a date (midnight, UTC) or Unix
    /// seconds
    #[arg(long, value_name = "TIME", value_parser = moment)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Moment>,
    /// Records that reached Kafka before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<Moment>,
    /// The event with this id, `evt_…`
    #[arg(long, value_name = "ID", value_parser = id)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<String>,
    /// Events of this type, `charge.succeeded`, or of a family, `charge.*`
    #[arg(long = "type", value_name = "TYPE", value_parser = id)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// Records that name this object, `pi_…` or any other id of Stripe's
    #[arg(long, value_name = "ID", value_parser = id)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// Records of this Stripe account, `acct_…`
    #[arg(long, value_name = "ACCOUNT", value_parser = id)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// No more than this many records, of those that all else leaves
    #[arg(long, value_name = "RECORDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,
}

impl Filter {
    /// Whether it is about this record; [`limit`](Self::limit) is for whoever counts. What a header
    /// tells is not looked for in the body.
    pub(crate) fn matches(&self, record: &RawRecord) -> bool {
        if self.from.is_some_and(|from| record.timestamp_ms < from.0)
            || self.to.is_some_and(|to| record.timestamp_ms >= to.0)
        {
            return false;
        }
        let mut body = Body { record, peek: None };
        let is = |found: Option<&str>, wanted: &str| found == Some(wanted);
        self.event.as_deref().is_none_or(|id| body.says(header::EVENT_ID, |found| is(found, id)))
            && self.kind.as_deref().is_none_or(|kind| {
                body.says(header::EVENT_TYPE, |found| found.is_some_and(|it| is_of(it, kind)))
            })
            && self
                .account
                .as_deref()
                .is_none_or(|id| body.says(header::ACCOUNT, |found| is(found, id)))
            && self.object.as_deref().is_none_or(|id| names(record, id))
    }
}

/// What a record says of itself, looked up once.
struct Body<'a> {
    record: &'a RawRecord,
    peek: Option<Peek<'a>>,
}

impl Body<'_> {
    fn says(&mut self, name: &str, is_it: impl Fn(Option<&str>) -> bool) -> bool {
        if let Some(value) = self.record.header(name) {
            return is_it(Some(value));
        }
        let record = self.record;
        let peek =
            self.peek.get_or_insert_with(|| peek(record.value.as_deref().unwrap_or_default()));
        is_it(match name {
            header::EVENT_ID => peek.id.as_deref(),
            header::EVENT_TYPE => peek.event_type.as_deref(),
            _ => peek.account.as_deref(),
        })
    }
}

/// Whether a type is this one, or of the family that ends in `.*`.
fn is_of(found: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(family) => found.starts_with(family),
        None => found == wanted,
    }
}

/// Whether the body holds the id as a JSON string, or the key is it.
fn names(record: &RawRecord, id: &str) -> bool {
    record.key.as_deref() == Some(id.as_bytes())
        || record
            .value
            .as_deref()
            .is_some_and(|body| memmem::find(body, format!("\"{id}\"").as_bytes()).is_some())
}

/// A time, in Unix milliseconds, as Kafka has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Moment(pub(crate) i64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000);
        let text = moment.ok().and_then(|moment| moment.format(&Rfc3339).ok());
        f.write_str(&text.unwrap_or_else(|| self.0.to_string()))
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

impl TryFrom<String> for Moment {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        moment(&text)
    }
}

/// Reads `2026-01-31T12:00:00Z`, `2026-01-31` or `1769860800`. A clap `value_parser`.
pub(crate) fn moment(text: &str) -> Result<Moment, &'static str> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1000).map(Moment).ok_or("is too far away");
    }
    if let Ok(midnight) = date(text) {
        return Ok(midnight);
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "is neither 2026-01-31T12:00:00Z, 2026-01-31 nor Unix seconds")?;
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000)
        .map(Moment)
        .map_err(|_| "is too far away")
}

/// Reads `2026-01-31`: its midnight, UTC. A clap `value_parser`.
pub(crate) fn date(text: &str) -> Result<Moment, &'static str> {
    let date = time::Date::parse(text, format_description!("[year]-[month]-[day]"))
        .map_err(|_| "is not a date like 2026-01-31")?;
    Ok(Moment(date.midnight().assume_utc().unix_timestamp() * 1000))
}

/// What Stripe's ids and types are made of: nothing that JSON would escape.
pub(crate) fn id(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let is_plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    if text.is_empty() || !text.chars().all(is_plain) {
        return Err("is no id of Stripe's");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const BODY: &str = r#"{"id":"evt_1","type":"charge.dispute.created","account":"acct_1",
        "data":{"object":{"id":"du_1","charge":"ch_1","metadata":{"note":"ch_2 is another"}}}}"#;

    fn record(headers: &[(&str, &str)]) -> RawRecord {
        let header = |(name, value): &(&str, &str)| {
            ((*name).to_owned(), Some(Bytes::copy_from_slice(value.as_bytes())))
        };
        RawRecord {
            partition: 0,
            offset: 0,
            timestamp_ms: 1_769_860_800_000,
            key: Some(Bytes::from_static(b"pi_1")),
            headers: headers.iter().map(header).collect(),
            value: Some(Bytes::from_static(BODY.as_bytes())),
        }
    }

    fn takes(filter: &Filter) -> bool {
        filter.matches(&record(&[]))
    }

    #[test]
    fn all_that_is_asked_must_hold() {
        assert!(takes(&Filter::default()));
        let right = Filter {
            event: Some("evt_1".into()),
            kind: Some("charge.*".into()),
            ..Filter::default()
        };
        assert!(takes(&right));
        assert!(!takes(&Filter { account: Some("acct_2".into()), ..right.clone() }));
        assert!(takes(&Filter { account: Some("acct_1".into()), ..right }));
        for (kind, expected) in
            [("charge.dispute.*", true), ("charge", false), ("charge.dispute.created", true)]
        {
            assert_eq!(
                takes(&Filter { kind: Some(kind.into()), ..Filter::default() }),
                expected,
                "{kind}"
            );
        }
    }

    #[test]
    fn a_header_is_believed_and_what_none_says_is_in_the_body() {
        let of = |id: &str| Filter { event: Some(id.into()), ..Filter::default() };
        let headed = record(&[("event_id", "evt_header")]);
        assert!(of("evt_header").matches(&headed) && !of("evt_1").matches(&headed));
        let nothing = RawRecord { value: None, ..record(&[]) };
        assert!(!of("evt_1").matches(&nothing));
    }

    #[test]
    fn an_object_is_named_by_a_whole_id() {
        let object = |id: &str| takes(&Filter { object: Some(id.into()), ..Filter::default() });
        assert!(object("du_1") && object("ch_1") && object("pi_1"));
        assert!(!object("ch_2") && !object("ch_"));
    }

    #[test]
    fn the_time_is_kafkas_and_its_end_is_left_out() {
        let at = Moment(1_769_860_800_000);
        let from = |from| Filter { from: Some(from), ..Filter::default() };
        let to = |to| Filter { to: Some(to), ..Filter::default() };
        assert!(takes(&from(at)) && !takes(&from(Moment(at.0 + 1))));
        assert!(!takes(&to(at)) && takes(&to(Moment(at.0 + 1))));
    }

    #[test]
    fn times_are_written_in_three_ways() {
        let expected = Ok(Moment(1_769_817_600_000));
        for text in
            ["2026-01-31", "2026-01-31T00:00:00Z", "2026-01-31T01:00:00+01:00", "1769817600"]
        {
            assert_eq!(moment(text), expected, "{text}");
        }
        assert_eq!(moment("2026-01-31T00:00:00.25Z"), Ok(Moment(1_769_817_600_250)));
        for text in ["", "yesterday", "2026-02-30", "2026-01-31 00:00"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn it_comes_back_from_the_operation_that_kept_it() {
        let filter = Filter {
            from: Some(Moment(1_769_817_600_250)),
            kind: Some("charge.*".into()),
            limit: Some(3),
            ..Filter::default()
        };
        let kept = serde_json::to_value(&filter).unwrap();
        assert_eq!(kept["from"], "2026-01-31T00:00:00.25Z");
        assert_eq!(serde_json::from_value::<Filter>(kept).unwrap(), filter);
    }
}
