//! The pretend Twitch keeps the rules of production, errs only when asked to, and public clients believe it.

#![expect(clippy::unwrap_used, reason = "the helpers of these tests are tests too")]

mod clients;
mod conduits;
mod faults;
mod helix;
mod listener;
mod oauth;
mod player;
mod sockets;
mod subscriptions;
mod typed;
mod webhooks;
