//! The core against whole lifecycles and real payloads: any permutation, duplication and split of
//! the same records gives the same rows and facts, and they are the ones that Stripe's model says.
#![allow(clippy::unwrap_used)]

mod archive;
mod attack;
mod book;
mod corpus;
mod document;
mod lifecycle;
mod released;
mod schema;
mod truth;
