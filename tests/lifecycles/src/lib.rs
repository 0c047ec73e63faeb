//! A model of Stripe: whole payment lifecycles as webhook events, and what they must come to.
//!
//! [`Stripe`] plays one platform with its connected accounts. Each [`Scenario`] gives a
//! [`Lifecycle`]: the events that Stripe would send, in the shape of one of four API versions, the quotes
//! and providers that belong to them, and the [`Truth`], stated by the scenario itself and not derived
//! from the events. The same seed gives the same events, ids included.
//!
//! ```
//! use lifecycles::{Delivery, Scenario, Stripe};
//!
//! let mut stripe = Stripe::new(7, 1_700_000_000);
//! let paid = stripe.lifecycle(Scenario::Paid);
//! assert_eq!(paid.truth.txns[0].status, "captured");
//!
//! let mut delivery = Delivery::new(7);
//! let mut events = delivery.duplicated(&paid.events, 0.5);
//! delivery.shuffle(&mut events);
//! let batches = delivery.batches(&events, 3);
//! assert_eq!(batches.concat().len(), events.len());
//! ```
#![forbid(unsafe_code)]

mod account;
mod books;
mod capture;
mod checkout;
mod delivery;
mod dispute;
mod fee;
mod invoice;
mod object;
mod other;
mod payment;
mod payout;
mod quote;
mod radar;
mod refund;
mod rng;
mod scenario;
mod script;
mod settle;
mod shape;
mod story;
mod stripe;
mod transfer;
mod truth;

pub use books::Balance;
pub use delivery::Delivery;
pub use quote::Quote;
pub use rng::Rng;
pub use scenario::{Scenario, UnknownScenario};
pub use shape::Shape;
pub use stripe::{Event, Lifecycle, Stripe};
pub use truth::{
    AccountRow, DisputeRow, Fact, FraudWarning, InvoiceRow, PayoutRow, RefundRow, Review, Truth,
    TxnRow,
};
