//! Events as a timeline: in Stripe's order, each with what it changed, and marks for what was odd
//! about its coming.

use serde_json::Value;

use super::cell::{Cell, Column, Show, plain};
use crate::mask;

/// An event in the timeline.
pub(super) struct Moment {
    pub(super) at: Cell,
    pub(super) kind: String,
    pub(super) object: Cell,
    pub(super) verdict: Cell,
    pub(super) marks: Vec<Mark>,
    pub(super) outcome: String,
    pub(super) proved: Vec<String>,
    /// Where it came from and where it is.
    pub(super) details: Vec<(&'static str, Cell)>,
}

/// What was odd.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) word: String,
    pub(super) meaning: &'static str,
}

const DETAILS: [Column; 8] = [
    Column("Event", Show::Story, &["event"]),
    Column("Account", Show::Story, &["account"]),
    Column("Received", Show::Time, &["received_at"]),
    Column("Applied", Show::Time, &["applied_at"]),
    Column("By", Show::Words, &["source"]),
    Column("Endpoint", Show::Code, &["endpoint"]),
    Column("API version", Show::Code, &["api_version"]),
    Column("Trace", Show::Code, &["traceparent"]),
];

/// A moment for each event, in the order that they are given in.
pub(super) fn moments(events: &[Value]) -> Vec<Moment> {
    events.iter().map(moment).collect()
}

fn moment(event: &Value) -> Moment {
    let text = |field: &str| mask::text(event[field].as_str().unwrap_or_default());
    let detail = |column: &Column| (column.0, Cell::of(event, column));
    let mut details: Vec<_> = DETAILS.iter().map(detail).collect();
    let place = format!("{}:{}", event["partition"], event["offset"]);
    details.push(("Partition and offset", Cell::Code(place)));
    for segment in event["segments"].as_array().into_iter().flatten() {
        details.push(("Archive segment", Cell::Code(mask::text(&plain(segment)))));
    }
    details.retain(|(_, cell)| *cell != Cell::Nothing);
    let proved = event["proved"].as_array().into_iter().flatten();
    Moment {
        at: Cell::of(event, &Column("", Show::Time, &["stripe_time"])),
        kind: text("type"),
        object: Cell::of(event, &Column("", Show::Story, &["object"])),
        verdict: Cell::status(&text("verdict")),
        marks: marks(event),
        outcome: text("outcome"),
        proved: proved.map(|fact| mask::text(&plain(fact))).collect(),
        details,
    }
}

fn marks(event: &Value) -> Vec<Mark> {
    let mut marks = Vec::new();
    if event["is_late"] == true {
        let came = event["came"].as_i64().unwrap_or_default();
        marks.push(Mark {
            word: format!("late, came {came}."),
            meaning: "older, by Stripe's time, than one that had come before it",
        });
    }
    if event["verdict"] == "variant" {
        marks.push(Mark {
            word: "same id, other data".to_owned(),
            meaning: "an event with this id came with other data; a plain repetition leaves no trace",
        });
    }
    marks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_odd_is_marked() {
        let event = json!({"event": "evt_1", "type": "charge.updated", "verdict": "variant",
            "is_late": true, "came": 3, "partition": 2, "offset": 44, "object": "ch_1",
            "stripe_time": "2025-10-09T08:53:20+00:00", "segments": ["p/partition=2/x.zst"],
            "outcome": "known id", "proved": ["payment.captured of ch_1:5"]});
        let moment = moment(&event);
        let words: Vec<_> = moment.marks.iter().map(|mark| mark.word.as_str()).collect();
        assert_eq!(words, ["late, came 3.", "same id, other data"]);
        assert_eq!(moment.proved, ["payment.captured of ch_1:5"]);
        let place = ("Partition and offset", Cell::Code("2:44".to_owned()));
        let segment = ("Archive segment", Cell::Code("p/partition=2/x.zst".to_owned()));
        assert!(moment.details.ends_with(&[place, segment]));
        assert_eq!(marks(&json!({"verdict": "applied", "is_late": false})), []);
    }
}
