//! « Direct »: one channel while it is on air, readable from two metres, and its stream of changes. What changes is put
//! into frames: one a tenth of a second and channel, made once for everybody who is in step.

mod allowance;
mod feed;
mod frame;
mod mark;
mod show;
mod stream;

pub(in crate::web) use feed::{Feeds, Tally};
pub(super) use mark::mark;
pub(super) use show::{front, show};
pub(super) use stream::stream;
