//! A pretend Twitch and pretend cameras.
pub mod cameras;
mod chance;
pub mod stream;
pub mod twitch;
