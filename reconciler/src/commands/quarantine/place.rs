//! How people name a record: by its place in the topic, or by its event.

use std::fmt;
use std::str::FromStr;

/// Names one record, or all records of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A place in the topic.
    Offset { topic_id: Option<String>, partition: i32, offset: i64 },
    /// An event's id.
    Event(String),
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = "is not PARTITION:OFFSET, TOPIC_ID/PARTITION:OFFSET or the id of an event";
        let Some((log, offset)) = text.split_once(':') else {
            let is_id = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            // A number alone is an offset without its partition.
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            return if is_id && !is_number { Ok(Self::Event(text.into())) } else { Err(problem) };
        };
        let (topic_id, partition) = match log.rsplit_once('/') {
            Some((topic_id, partition)) => (Some(topic_id.to_owned()), partition),
            None => (None, log),
        };
        match (partition.parse(), offset.parse()) {
            (Ok(partition), Ok(offset)) if partition >= 0 && offset >= 0 => {
                Ok(Self::Offset { topic_id, partition, offset })
            }
            _ => Err(problem),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset { topic_id: None, partition, offset } => write!(f, "{partition}:{offset}"),
            Self::Offset { topic_id: Some(topic_id), partition, offset } => {
                write!(f, "{topic_id}/{partition}:{offset}")
            }
            Self::Event(id) => f.write_str(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_as_they_are_written() {
        for text in ["0:0", "3:1207", "x_-Y/3:1207", "evt_1"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for text in ["", "12", "a:1", "1:", ":1", "-1:2", "1:-2", "1:2:3", "evt 1"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
