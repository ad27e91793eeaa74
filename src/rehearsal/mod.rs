//! A pretend Twitch and pretend cameras.
pub mod stream;
