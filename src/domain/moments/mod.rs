//! Finds the moments of a stream while it runs: signals in (chat, audience events, votes, sound),
//! moments out (span, score, reasons). Pure and online: one tick a second, O(1) per message.

pub mod signal;

pub mod lexicon;
pub mod reading;

pub mod baseline;
pub mod history;
pub mod loudness;
pub mod windows;

pub mod support;
pub mod votes;

pub mod delay;
pub mod onset;

pub mod reasons;

pub mod bounds;
pub mod moment;
pub mod params;

pub mod detector;
pub mod event;
pub mod rank;
pub mod recorded;

#[cfg(test)]
mod rehearsed;
