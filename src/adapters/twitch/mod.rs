//! Twitch. What it sends is decoded in two steps: first the envelope, which takes anything and lets the raw text be
//! stored, then the event, which may be unknown. Closed types for both would lose a whole frame for one new word in it.

pub mod eventsub;
