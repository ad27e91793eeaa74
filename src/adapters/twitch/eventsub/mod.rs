//! EventSub: what may be subscribed to, the envelope of what comes, and what the event in it says.

pub mod catalogue;
pub mod decode;
pub mod envelope;
mod fields;
pub mod socket;
