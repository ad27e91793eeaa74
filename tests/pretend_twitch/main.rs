//! The pretend Twitch keeps the rules of production, errs only when asked to, and public clients believe it.

mod clients;
mod conduits;
mod faults;
mod helix;
mod listener;
mod oauth;
mod player;
mod sockets;
mod subscriptions;
mod webhooks;
