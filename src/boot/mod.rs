//! The one place that knows everybody: reads the settings, opens the systems outside, wires the house, runs a role.

mod alerts;
mod align;
mod bench;
mod channels;
mod cli;
mod config;
mod doctor;
mod fonts;
mod import;
mod keep;
mod listen;
mod logs;
mod pretend;
mod pretend_cameras;
mod pretend_twitch;
mod record;
mod recorder_child;
mod rehearse;
mod rehearse_live;
mod resources;
mod serve;
mod twitch;
mod wire;

pub use cli::run;
