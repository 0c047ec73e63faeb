//! What the program can do beside following the topic.

pub(crate) mod change;
pub(crate) mod hash;
pub(crate) mod inspect;
pub(crate) mod migrate;
pub(crate) mod quarantine;
pub(crate) mod rebuild;
pub(crate) mod republish;
pub(crate) mod tail;
