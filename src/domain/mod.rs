//! Nouns and their rules. Pure: no async, no IO, no clock; every change is a value in, a value out.

pub mod accounts;
pub mod alerts;
pub mod audience;
pub mod clips;
pub mod event;
pub mod ids;
pub mod job;
pub mod live;
pub mod media;
pub mod moments;
pub mod resources;
pub mod villa;
