//! What the program can do beside following the topic.

pub(crate) mod archive;
pub(crate) mod ask;
pub(crate) mod changes;
pub(crate) mod hash;
pub(crate) mod inspect;
pub(crate) mod migrate;
pub(crate) mod operations;
pub(crate) mod quarantine;
pub(crate) mod rebuild;
pub(crate) mod replay;
pub(crate) mod republish;
pub(crate) mod tail;
