//! A model of Stripe: whole payment lifecycles as webhook events, and what they must come to.
//!
//! [`Stripe`] plays one platform with its connected accounts. Each [`Scenario`] gives a
//! [`Lifecycle`]: the events that Stripe would send, in the shape of one of two API versions, and the
//! [`Truth`], stated by the scenario itself and not derived from the events. The same seed gives the
//! same events, ids included.
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

mod connect;
mod delivery;
mod dispute;
mod object;
mod payment;
mod rng;
mod scenario;
mod script;
mod story;
mod stripe;
mod truth;

pub use delivery::Delivery;
pub use object::Shape;
pub use rng::Rng;
pub use scenario::{Scenario, UnknownScenario};
pub use stripe::{Event, Lifecycle, Stripe};
pub use truth::{AccountRow, DisputeRow, Fact, PayoutRow, RefundRow, Truth, TxnRow};
