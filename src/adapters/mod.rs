//! Systems that answer: all third-party IO, one folder a system.

pub mod chat_files;
pub mod clock;
pub mod ffmpeg;
pub mod heralds;
pub mod host;
pub mod local_dvr;
pub mod local_spool;
pub mod local_store;
pub mod memory;
pub mod postgres;
pub mod recorder;
pub mod rtmp;
pub mod srt;
pub mod twitch;
