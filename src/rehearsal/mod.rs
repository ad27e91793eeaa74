//! A pretend Twitch and pretend cameras.
mod chance;
pub mod stream;
pub mod twitch;
