//! Twitch. What it sends is decoded in two steps: first the envelope, which takes anything and lets the raw text be
//! stored, then the event, which may be unknown. Closed types for both would lose a whole frame for one new word in it.
//!
//! What it is asked goes to its identity service (`oauth`) and its web interface (`helix`). Their addresses are settings of
//! ours, so that a rehearsal can stand in Twitch's place.

pub mod eventsub;
mod helix;
mod http;
mod oauth;
mod settings;

pub use helix::{HelixLimits, TwitchHelix};
pub use oauth::TwitchIdentity;
pub use settings::TwitchSettings;
