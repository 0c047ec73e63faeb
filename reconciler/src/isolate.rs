//! Finding the records that Postgres refuses among those that it takes: whoever applies batches does
//! it alike.

use std::ops::Range;

use domain::event::{Reason, Rejected};

use crate::fault::Fault;
use crate::store::Item;

/// A search for the records of a refused batch that are to blame: what is refused is halved until
/// each of them stands alone, and all others are applied on the way.
#[derive(Debug)]
pub(crate) struct Search {
    parts: Vec<Range<usize>>,
    refused: Vec<(usize, Fault)>,
}

impl Search {
    /// Of a batch of so many records.
    pub(crate) fn of(count: usize) -> Self {
        Self { parts: std::iter::once(0..count).collect(), refused: Vec::new() }
    }

    /// The part to apply next; none when all is known.
    pub(crate) fn next(&mut self) -> Option<Range<usize>> {
        self.parts.pop().filter(|part| !part.is_empty())
    }

    /// That part was refused.
    pub(crate) fn refused(&mut self, part: Range<usize>, fault: Fault) {
        if part.len() == 1 {
            return self.refused.push((part.start, fault));
        }
        let middle = part.start + part.len() / 2;
        self.parts.extend([part.start..middle, middle..part.end]);
    }

    /// Index and fault of each record that was refused.
    pub(crate) fn found(self) -> Vec<(usize, Fault)> {
        self.refused
    }
}

/// Marks a record for quarantine. Even its envelope may be what is refused: the second time it goes
/// without.
pub(crate) fn set_aside(item: &mut Item, fault: &Fault) {
    let event = match &item.outcome {
        Ok(decoded) => Some(Box::new(decoded.event.clone())),
        Err(_) => None,
    };
    let detail = fault.to_string();
    item.outcome = Err(Rejected { reason: Reason::DatabaseRefused, detail, event });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bad_ones_are_found_and_all_others_are_applied_once() {
        for bad in [&[3, 4, 9][..], &[0], &[10], &[]] {
            let mut applied = Vec::new();
            let mut search = Search::of(11);
            while let Some(part) = search.next() {
                if part.clone().any(|index| bad.contains(&index)) {
                    search.refused(part, Fault::retry("applying", "23514"));
                } else {
                    applied.extend(part);
                }
            }
            let mut found: Vec<usize> = search.found().iter().map(|(index, _)| *index).collect();
            found.sort_unstable();
            assert_eq!(found, bad);
            applied.sort_unstable();
            let good: Vec<usize> = (0..11).filter(|index| !bad.contains(index)).collect();
            assert_eq!(applied, good);
        }
    }
}
