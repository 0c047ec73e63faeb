//! Sending webhooks as Stripe would: signed, repeated, out of order, many at a time.

mod payload;
mod report;
mod secrets;
mod sender;

pub use payload::{Payload, generated, read};
pub use report::{Latency, Report};
pub use secrets::signing_secret;
pub use sender::{Sender, Target};
