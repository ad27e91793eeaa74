//! FFmpeg through `ffmpeg-next`: the engine that starts a child per job, and what that child does.
//!
//! `engine` runs in the server and touches no media. Everything else runs in role `render`, where a hostile
//! file can only cost one job, and in role `demux`, where a hostile stream can only cost its own caller. `encode_stream` and
//! `remux` may also run in the caller's process: they read nothing that is not of the house's own making.

pub mod bench;
mod check;
mod cut;
pub mod demux;
mod encode;
mod engine;
mod ffi;
mod glance;
mod graph;
mod h264;
mod inspect;
mod job;
mod listen;
mod mastering;
mod nursery;
mod open;
mod poster;
mod reel;
mod remux;
mod role;
mod scenes;
mod sound;
mod span;
mod stream;
mod transcode;

pub use crate::adapters::ffmpeg::engine::{EngineSettings, FfmpegEngine, RunningRenders};
pub use crate::adapters::ffmpeg::job::Misbehaviour;
pub use crate::adapters::ffmpeg::remux::remux;
pub use crate::adapters::ffmpeg::role::{RENDER_ROLE, render_role};
pub use crate::adapters::ffmpeg::stream::encode_stream;

/// The version of libavcodec, and the encoders and filters that reels need and it lacks.
pub fn capabilities() -> (String, Vec<String>) {
    const ENCODERS: [&str; 3] = ["libx264", "aac", "mjpeg"];
    const FILTERS: [&str; 8] =
        ["scale", "crop", "overlay", "boxblur", "subtitles", "fps", "setsar", "aresample"];
    let version = ffmpeg_next::codec::version();
    let encoders =
        ENCODERS.into_iter().filter(|name| ffmpeg_next::encoder::find_by_name(name).is_none());
    let filters = FILTERS.into_iter().filter(|name| ffmpeg_next::filter::find(name).is_none());
    let missing = encoders.chain(filters).map(str::to_owned).collect();
    (format!("{}.{}", version >> 16, version >> 8 & 0xff), missing)
}
