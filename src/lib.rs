//! SPARK: the live-streaming and content-production backend of a creative collective.
//!
//! The hexagon outside, the features inside each of its rooms, and the same feature word in every room:
//!
//! ```text
//!         people                     the clock, the queue
//!           │                                  │
//!      ┌────▼────┐                       ┌─────▼─────┐
//!      │   web   │  doors: who starts it │  workers  │
//!      └────┬────┘                       └─────┬─────┘
//!           └───────────────┬──────────────────┘
//!                     ┌─────▼─────┐
//!                     │ use_cases │  verbs: what we do
//!                     └──┬─────┬──┘
//!               ┌────────▼─┐ ┌─▼──────┐   ┌──────────────┐
//!    nouns and  │  domain  │ │ ports  │◄──│   adapters   │  systems that answer
//!    rules      └──────────┘ └────────┘   └──────────────┘
//!               read_models: what we show     postgres local_store local_dvr ffmpeg rtmp srt twitch chat_files clock host memory
//! ```

pub mod adapters;
pub mod bench;
pub mod boot;
pub mod domain;
pub mod ports;
pub mod read_models;
pub mod rehearsal;
pub mod use_cases;
pub mod web;
pub mod workers;
