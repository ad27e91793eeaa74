//! EventSub: what may be subscribed to, the envelope of what comes, and what the event in it says.

pub mod catalogue;
mod conduit;
pub mod decode;
pub mod envelope;
mod fields;
mod house;
mod notice;
mod socket;
mod source;
mod standing;
mod webhook;

pub use house::Connection;
pub use source::{EventsubHealth, EventsubSource, Transport};
pub use webhook::{WebhookDoor, webhook_secret};
