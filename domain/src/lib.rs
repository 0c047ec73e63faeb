//! The pure core: what Stripe's records mean for money state.
//!
//! No I/O, no clock, no runtime: `now` is an argument, and everything here is a function of its
//! inputs. The adapters in the binaries move bytes; the decisions are made here.
#![forbid(unsafe_code)]

pub mod aggregate;
pub mod archive;
pub mod catalog;
pub mod currency;
pub mod derive;
pub mod endpoint;
pub mod event;
pub mod fact;
pub mod id;
pub mod json;
pub mod ledger;
pub mod object;
pub mod order;
pub mod peek;
pub mod quote;
pub mod record;
pub mod row;
pub mod set_hash;
pub mod settings;
pub mod settlement;
pub mod signature;
pub mod state;
