//! Clips: a span of a live, proposed by a moment or by hand, judged by an editor, made into reels.
//! Beside them the footage they are cut from, its sound, and the plan a reel is rendered by.

pub mod clip;
pub mod footage;
pub mod loudness;
pub mod picture;
pub mod reel_plan;
pub mod safe_zone;

pub use clip::{
    Clip, ClipError, ClipEvent, ClipFile, ClipSource, ClipState, ClipTitle, Reel, ReelState, Span,
    SpanError,
};

/// How many of an import's best moments become clips to approve.
pub const CLIPS_PROPOSED: u32 = 5;
/// How many of those become reels without a click.
pub const REELS_PROPOSED: u32 = 3;
